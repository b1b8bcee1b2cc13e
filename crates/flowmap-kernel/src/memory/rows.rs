//! A few rows of a value and the same rows of its tangent: what one task computes.

use super::uninit::Blank;

/// Rows of x, and as many of ẋ, in a block: what a task computes of them stays in the second cache.
/// A multiple of the rows of every innermost loop.
const BLOCK_ROWS: usize = 36;

/// Rows of a value and of its tangent, if there is one, to read.
pub(crate) type Block<'a> = (&'a [f32], Option<&'a [f32]>);
/// A block to write.
pub(crate) type BlockMut<'a> = (&'a mut [f32], Option<&'a mut [f32]>);

/// A block to write as one to read.
pub(crate) fn shared<'a>(block: &'a BlockMut<'_>) -> Block<'a> {
    (&*block.0, block.1.as_deref())
}

/// A shorter loan of a block.
pub(crate) fn reborrow<'a>(block: &'a mut BlockMut<'_>) -> BlockMut<'a> {
    (&mut *block.0, block.1.as_deref_mut())
}

/// Cuts rows of `columns` numbers, and the stacked rows below them, into blocks.
pub(crate) fn blocks(values: &[f32], columns: usize, is_stacked: bool) -> Vec<Block<'_>> {
    let len = (BLOCK_ROWS * columns).max(1);
    match is_stacked {
        true => {
            let (primal, tangent) = values.split_at(values.len() / 2);
            primal.chunks(len).zip(tangent.chunks(len).map(Some)).collect()
        }
        false => values.chunks(len).map(|block| (block, None)).collect(),
    }
}

/// As [`blocks`], to write.
pub(crate) fn blocks_mut(values: &mut [f32], columns: usize, is_stacked: bool) -> Vec<BlockMut<'_>> {
    let len = (BLOCK_ROWS * columns).max(1);
    match is_stacked {
        true => whole_mut(values, true).map_or(Vec::new(), |(primal, tangent)| {
            let tangents = tangent.map(|t| t.chunks_mut(len)).into_iter().flatten().map(Some);
            primal.chunks_mut(len).zip(tangents).collect()
        }),
        false => values.chunks_mut(len).map(|block| (block, None)).collect(),
    }
}

/// A block of memory that holds no numbers yet.
pub(crate) type BlankBlock<'a> = (Blank<'a>, Option<Blank<'a>>);

/// As [`blocks_mut`], of memory that each task clears for itself.
pub(crate) fn blank_blocks(memory: Blank<'_>, columns: usize, is_stacked: bool) -> Vec<BlankBlock<'_>> {
    let (run, piece) = (memory.len().max(1), (BLOCK_ROWS * columns).max(1));
    match is_stacked {
        true => {
            let (primal, tangent) = memory.split_at(run / 2);
            let tangents = tangent.pieces(run, piece).into_iter().map(Some);
            primal.pieces(run, piece).into_iter().zip(tangents).collect()
        }
        false => memory.pieces(run, piece).into_iter().map(|block| (block, None)).collect(),
    }
}

/// Zeros.
pub(crate) fn cleared<'a>((primal, tangent): BlankBlock<'a>) -> BlockMut<'a> {
    (primal.clear(), tangent.map(Blank::clear))
}

/// All rows as one block, `None` if there are none.
pub(crate) fn whole_mut(values: &mut [f32], is_stacked: bool) -> Option<BlockMut<'_>> {
    match is_stacked {
        _ if values.is_empty() => None,
        true => {
            let (primal, tangent) = values.split_at_mut(values.len() / 2);
            Some((primal, Some(tangent)))
        }
        false => Some((values, None)),
    }
}

//! The splits that the names of files and folders tell.

use serde::{Deserialize, Serialize};

/// Which of the files of a folder, where their names tell a split.
///
/// A name tells a split by a word between marks and digits, in any spelling of case: `train` or `training`;
/// `val`, `valid`, `validation` or `dev`; `test` or `testing`.
/// Of a folder in which no name tells a split, `train` and `all` are all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileSplit {
    /// The files to learn from.
    #[default]
    Train,
    /// The files to choose by.
    Validation,
    /// The files to judge by.
    Test,
    /// All files, whatever their names tell.
    All,
}

impl FileSplit {
    /// As it is written in a config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::All => "all",
        }
    }

    /// The split that a word stands for.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// The split that a name tells; `None` if the name tells no split, or several.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let words = name.split(|letter: char| !letter.is_alphabetic());
        let mut splits = words.filter_map(Self::of_word);
        let first = splits.next()?;
        splits.all(|other| other == first).then_some(first)
    }

    /// Whether files of a split are those that are asked for.
    pub(crate) fn takes(self, split: Self) -> bool {
        self == Self::All || self == split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_split_by_a_word() {
        let told = [
            ("train-00000-of-00001.parquet", FileSplit::Train),
            ("imagenet1k-train-0000.tar", FileSplit::Train),
            ("TRAIN_00.tar", FileSplit::Train),
            ("train000.tar", FileSplit::Train),
            ("val-7.tar", FileSplit::Validation),
            ("validation-00003-of-00014.parquet", FileSplit::Validation),
            ("cc3m_test.tar.gz", FileSplit::Test),
        ];
        for (name, split) in told {
            assert_eq!(FileSplit::of_name(name), Some(split), "{name}");
        }
        for name in ["0.tar", "trains.tar", "latest.parquet", "valley-0.tar", "train-test.parquet"] {
            assert_eq!(FileSplit::of_name(name), None, "{name}");
        }
    }
}

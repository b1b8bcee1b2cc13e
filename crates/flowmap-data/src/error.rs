//! What can be wrong with a data set: its config or its file.

mod format_fault;
mod jpeg_fault;
mod png_fault;
mod record_fault;

use std::path::PathBuf;

pub use format_fault::FormatFault;
pub use jpeg_fault::JpegFault;
pub use png_fault::PngFault;
pub use record_fault::RecordFault;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a config or a data file: where, what was expected and what came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A config names a data set of another program, which this one does not have.
    #[error("the data set `{name}` belongs to another program, expected a run of the program that has it")]
    UnknownOwn {
        /// The name.
        name: String,
    },
    /// A value of the config is out of its range.
    #[error("`{key}`: expected {expected}, found {found}")]
    Config {
        /// The key, as it is written in the config, with an index where it is a list.
        key: String,
        /// What the key may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Two lists of the config must have the same length.
    #[error("`{key}`: expected {expected} entries as in `{other}`, or a single one, found {found}")]
    ConfigLength {
        /// The key of the list at fault.
        key: &'static str,
        /// The key of the list that sets the length.
        other: &'static str,
        /// Length of the other list.
        expected: usize,
        /// Length of the list at fault.
        found: usize,
    },
    /// The operating system refused to read the file.
    #[error("reading {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The files of a data set are not there.
    #[error("{}: expected the files of Debian's package `{package}`, found none; install it by `apt-get install {package}`, or set `path` to a directory with the same files", path.display())]
    NotInstalled {
        /// The directory.
        path: PathBuf,
        /// The package.
        package: &'static str,
    },
    /// A directory lacks a file, or has several that it could be.
    #[error("{}: expected {wanted}, found {}", path.display(), list(found))]
    MissingFile {
        /// The directory.
        path: PathBuf,
        /// The file looked for.
        wanted: String,
        /// Names of the files that are there.
        found: Vec<String>,
    },
    /// The files of a split are not there.
    #[error("{}: expected files of the split `{wanted}`, found {}", path.display(), splits(found))]
    MissingSplit {
        /// The folder.
        path: PathBuf,
        /// The split of the config.
        wanted: &'static str,
        /// The splits that the names of the files tell.
        found: Vec<String>,
    },
    /// The names of some files tell their split, and those of others do not.
    #[error(
        "{}: expected all names of files to tell a split, or none, found {told} with a split and {untold} without; set `path` to one file, or `split` to \"all\"",
        path.display()
    )]
    UnclearSplit {
        /// The folder.
        path: PathBuf,
        /// A file whose name tells its split.
        told: String,
        /// A file whose name does not.
        untold: String,
    },
    /// A folder has the files of several data sets.
    #[error("{}: expected the files of one data set, found some in each of {}; set `path` to one of them", path.display(), list(found))]
    SeveralSets {
        /// The folder.
        path: PathBuf,
        /// The folders in it that have files.
        found: Vec<String>,
    },
    /// Folders lie in each other deeper than any data set has them, or in a circle.
    #[error("{}: expected folders in at most {max} others, found more", path.display())]
    TooDeep {
        /// The innermost folder.
        path: PathBuf,
        /// How many are followed.
        max: usize,
    },
    /// A folder stands among the images of a class.
    #[error(
        "{}: expected an image, as its neighbors are, found a folder; set `path` to the folder whose subfolders are the classes",
        path.display()
    )]
    FolderInClass {
        /// The folder.
        path: PathBuf,
    },
    /// A file stands beside the subfolders that are the classes.
    #[error("{}: expected a subfolder, a class, as its neighbors are, found a file", path.display())]
    FileBesideClasses {
        /// The file.
        path: PathBuf,
    },
    /// The program was built without a reader.
    #[error(
        "`{kind}` data need the feature `{feature}`; expected a program built by `cargo build --features {feature}`, found one without it"
    )]
    NoFeature {
        /// The kind of data.
        kind: &'static str,
        /// The feature of the crate.
        feature: &'static str,
    },
    /// A file of latents has an extension that names no format.
    #[error("{}: expected a file that ends in .npz or .safetensors, found {found}", path.display())]
    NotLatents {
        /// The file.
        path: PathBuf,
        /// Its extension, or words saying that it has none.
        found: String,
    },
    /// A file of tensors is cut short or damaged.
    #[error("{}: expected a whole safetensors file: {source}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: safetensors::SafeTensorError,
    },
    /// One record of a data set is wrong.
    #[error("{place}: {fault}")]
    Record {
        /// The file, or the member of it.
        place: String,
        /// What is wrong.
        fault: RecordFault,
    },
    /// A value of an image is far from [−1, 1].
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a number from -1 to 1, found {found}"
    )]
    BeyondScale {
        /// The file, with the array in it.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: f64,
    },
    /// The path leads to a folder or a device.
    #[error("{}: expected a file, found something else", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The extension names no format that can be read.
    #[error("{}: expected a file that ends in .npz, .npy or .csv (also .tsv, .txt), found {found}", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// Its extension, or words saying that it has none.
        found: String,
    },
    /// An option makes no sense for the format of the file.
    #[error("`{key}`: does not apply to {}", path.display())]
    OptionDoesNotApply {
        /// The key of the config.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file is not what its extension says, or is damaged.
    #[error("{place}: {fault}")]
    Format {
        /// The file, with the array in it where there is one.
        place: String,
        /// What is wrong.
        fault: FormatFault,
    },
    /// An array has a type that is not read.
    #[error("{place}: expected values of type {expected}, found {found}")]
    WrongDtype {
        /// The file, with the array in it where there is one.
        place: String,
        /// The types that are read.
        expected: &'static str,
        /// The type in the file, in the notation of NumPy.
        found: String,
    },
    /// An array has a shape that is not read.
    #[error("{place}: expected shape {expected}, found {found:?}")]
    WrongShape {
        /// The file, with the array in it where there is one.
        place: String,
        /// The shapes that are read.
        expected: &'static str,
        /// The shape in the file.
        found: Vec<u64>,
    },
    /// The length of the data is not what the header says.
    #[error("{place}: the header promises {expected} bytes of data, found {}{found}",
            if *.is_at_least { "at least " } else { "" })]
    WrongLength {
        /// The file, with the array in it where there is one.
        place: String,
        /// What shape and type need, in bytes.
        expected: u128,
        /// What there is, in bytes.
        found: u64,
        /// True if reading stopped at the first byte too many.
        is_at_least: bool,
    },
    /// An array inflates to far more than any data would.
    #[error("{place}: {expected} bytes packed into {found}: expected at most {limit}-fold compression")]
    ZipBomb {
        /// The file and the array in it.
        place: String,
        /// Bytes when unpacked.
        expected: u64,
        /// Bytes in the file.
        found: u64,
        /// The largest ratio that is read.
        limit: u64,
    },
    /// The NPZ file lacks the array asked for, or has several and none was asked for.
    #[error("{}: expected {wanted}, found {}", path.display(), list(found))]
    MissingArray {
        /// The file.
        path: PathBuf,
        /// The name looked for, or words saying how one is chosen.
        wanted: String,
        /// Names of the arrays that are there.
        found: Vec<String>,
    },
    /// Two arrays or columns of a file have one name.
    #[error("{place}: expected {what} of different names, found two {what} `{name}`")]
    SameName {
        /// The file.
        place: String,
        /// What has the name: `arrays` or `columns`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An array of images looks like another layout than the one that is read.
    #[error("{place}: expected shape (N, C, H, W), found {found:?}, which looks like (N, H, W, C); {remedy}")]
    WrongLayout {
        /// The file, with the array in it where there is one.
        place: String,
        /// The shape in the file.
        found: Vec<u64>,
        /// What settles which it is.
        remedy: &'static str,
    },
    /// A whole number among the pixels is no byte.
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a whole number from 0 to 255, found {found}"
    )]
    NotAByte {
        /// The file, with the array in it where there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: i64,
    },
    /// The file lacks a column that was asked for.
    #[error("{place}: expected column {wanted}, found {}", list(found))]
    MissingColumn {
        /// The file, with the array in it where there is one.
        place: String,
        /// The name in quotes, or the number looked for.
        wanted: String,
        /// Names of the columns, or their numbers where they have no names.
        found: Vec<String>,
    },
    /// There is no sample.
    #[error("{place}: expected at least one sample, found none")]
    Empty {
        /// The file, with the array in it where there is one.
        place: String,
    },
    /// A row is shorter or longer than those above it.
    #[error("{}, line {line}: expected {expected} values, found {found}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Number of values in the first row.
        expected: usize,
        /// Number of values in this one.
        found: usize,
    },
    /// A field of a text file is no number, or none that f32 can hold.
    #[error("{}, line {line}, column {column}: expected a finite number, found {found:?}", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: usize,
        /// The field.
        found: String,
    },
    /// The line of names comes again, as in files that were joined.
    #[error("{}, line {line}: expected a sample, found the names of the columns once more", path.display())]
    NamesAgain {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// A field in quotes has no end.
    #[error("{}, line {line}: expected a closing quote, found the end of the file", path.display())]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// The line of the opening quote, counted from 1.
        line: u64,
    },
    /// No column of a table has a name, and none was asked for.
    #[error("{}: expected names of columns or the key `columns`, found names that are all empty", path.display())]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// Commas seem to stand within numbers and between them.
    #[error(
        "{}, line {line}: expected a comma between numbers, found one within a number (`{found}`); \
         numbers with a decimal comma need semicolons or tabs between them",
        path.display()
    )]
    DecimalComma {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Two fields with the comma between them.
        found: String,
    },
    /// A value is NaN, infinite or beyond the range of f32.
    #[error(
        "{place}, sample {sample}, coordinate {coordinate}: expected a finite number (f32), found {found}"
    )]
    NotFinite {
        /// The file, with the array in it where there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The coordinate of the flattened sample, counted from 0.
        coordinate: u64,
        /// The value.
        found: f64,
    },
    /// A label is no class number.
    #[error("{place}, sample {sample}: expected a whole number from 0 to {max}, found {found}")]
    BadLabel {
        /// The file, with the array in it where there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The largest label that is read.
        max: u32,
        /// The value.
        found: f64,
    },
    /// A label is no class number, where the config says which label is the first class.
    #[error("{place}, sample {sample}: expected a whole number from {min} to {max}, found {found}{}",
            first_label_hint(*.min, *.max, *.found))]
    NoClass {
        /// The file, with the array in it where there is one.
        place: String,
        /// The sample, counted from 0.
        sample: u64,
        /// The label of class 0.
        min: i64,
        /// The largest label that is read.
        max: i64,
        /// The value.
        found: f64,
    },
    /// A column of labels has words in some lines and numbers in others.
    #[error(
        "{}, line {line}, column {column}: expected {expected}, as in the lines above, found {found:?}",
        path.display()
    )]
    MixedLabels {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: usize,
        /// What the lines above have.
        expected: &'static str,
        /// The field.
        found: String,
    },
    /// There is not one label for each sample.
    #[error("{place}: expected {expected} labels, one for each sample, found {found}")]
    LabelCount {
        /// The file, with the array in it where there is one.
        place: String,
        /// Number of samples.
        expected: u64,
        /// Number of labels.
        found: u64,
    },
    /// The noise of pairs does not fit the samples.
    #[error("{place}: expected {} rows of shape {:?}, as many as samples, found {} of shape {:?}", expected.0, expected.1, found.0, found.1)]
    NoiseShape {
        /// Where the noise comes from.
        place: String,
        /// Number and shape of the samples.
        expected: (u64, Vec<usize>),
        /// Number and shape of the rows of noise.
        found: (u64, Vec<usize>),
    },
    /// Pairs were asked for of a set that has no noise.
    #[error("{place}: expected an NPZ file with the noise of each sample, such as `flowmap sample` writes")]
    NoNoise {
        /// The file, or the kind of data.
        place: String,
    },
    /// Number of values and shape do not agree.
    #[error("{place}: expected a multiple of {expected} values for shape {shape:?}, found {found}")]
    ValueCount {
        /// Where the values come from.
        place: String,
        /// Shape of a sample.
        shape: Vec<usize>,
        /// Values in a sample.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The values are so large or so small that f32 cannot compute with them.
    #[error(
        "{place}: expected a standard deviation from {min:e} to {max:e}, found {found:e}; rescale the data"
    )]
    BeyondRange {
        /// The file, with the array in it where there is one.
        place: String,
        /// The smallest that is accepted.
        min: f64,
        /// The largest that is accepted.
        max: f64,
        /// Standard deviation of all coordinates.
        found: f64,
    },
    /// All values are equal, so that there is no scale to work at.
    #[error("{place}: expected data that vary, found {found} in every coordinate of every sample")]
    NoSpread {
        /// The file, with the array in it where there is one.
        place: String,
        /// The only value.
        found: f64,
    },
}

/// The splits that files tell, for a message.
fn splits(found: &[String]) -> String {
    if found.is_empty() {
        return "files whose names tell no split".into();
    }
    format!("files of {}; set `split`", list(found))
}

/// Names the key by which labels may start elsewhere, where a whole number is just beyond the classes.
fn first_label_hint(min: i64, max: i64, found: f64) -> &'static str {
    let is_beyond = found.fract() == 0.0 && (found < min as f64 || found == (max + 1) as f64);
    if is_beyond { "; the key `first_label` says which label is the first class" } else { "" }
}

/// A list for a message: the first entries, each in quotes, and how many more.
fn list(names: &[String]) -> String {
    const N_SHOWN: usize = 20;
    if names.is_empty() {
        return "none".into();
    }
    let shown: Vec<String> = names.iter().take(N_SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = names.len() - shown.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

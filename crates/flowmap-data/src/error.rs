//! What can be wrong with a data set: its config or its file.

mod folder_fault;
mod format_fault;
mod jpeg_fault;
mod png_fault;
mod record_fault;
mod text_fault;
mod value_fault;

use std::path::PathBuf;

pub use folder_fault::FolderFault;
pub use format_fault::FormatFault;
pub use jpeg_fault::JpegFault;
pub use png_fault::PngFault;
pub use record_fault::RecordFault;
pub use text_fault::TextFault;
pub use value_fault::ValueFault;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of a config or a data file: the place, the expected and the found value.
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
        /// The key, as it is written in the config, with an index if it is a list.
        key: String,
        /// Range of the key.
        expected: &'static str,
        /// Value of the key.
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
    /// No parameters of the prior explain the data, or so few that a rejection sampler does not find them.
    #[error("{task}: expected data that parameters of the prior explain, found none in {n_tries} tries")]
    NoPosterior {
        /// Name of the task.
        task: &'static str,
        /// Number of proposals, all rejected.
        n_tries: usize,
    },
    /// The mathematics below refused its arguments, or an integrator its equation.
    #[error(transparent)]
    Core(#[from] flowmap_core::Error),
    /// The operating system refused to read the file.
    #[error("reading {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: std::io::Error,
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
        /// Extension of the file, or words for its absence.
        found: String,
    },
    /// A file of tensors is cut short or damaged.
    #[error("{}: expected a whole safetensors file: {source}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Message of the reader.
        source: safetensors::SafeTensorError,
    },
    /// One record of a data set is wrong.
    #[error("{place}: {fault}")]
    Record {
        /// The file, or the member of it.
        place: String,
        /// The fault.
        fault: RecordFault,
    },
    /// The extension names no format that can be read.
    #[error("{}: expected a file that ends in .npz, .npy or .csv (also .tsv, .txt), found {found}", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// Extension of the file, or words for its absence.
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
    /// The content of a file does not fit its extension, or is damaged.
    #[error("{place}: {fault}")]
    Format {
        /// The file, with the array in it if there is one.
        place: String,
        /// The fault.
        fault: FormatFault,
    },
    /// An array has a type that is not read.
    #[error("{place}: expected values of type {expected}, found {found}")]
    WrongDtype {
        /// The file, with the array in it if there is one.
        place: String,
        /// The types that are read.
        expected: &'static str,
        /// The type in the file, in the notation of NumPy.
        found: String,
    },
    /// An array has a shape that is not read.
    #[error("{place}: expected shape {expected}, found {found:?}")]
    WrongShape {
        /// The file, with the array in it if there is one.
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
        /// The file, with the array in it if there is one.
        place: String,
        /// Bytes that shape and type need.
        expected: u128,
        /// Bytes in the file.
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
        /// Kind of the duplicates: `arrays` or `columns`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An array of images looks like another layout than the one that is read.
    #[error("{place}: expected shape (N, C, H, W), found {found:?}, which looks like (N, H, W, C); {remedy}")]
    WrongLayout {
        /// The file, with the array in it if there is one.
        place: String,
        /// The shape in the file.
        found: Vec<u64>,
        /// Setting that decides between the two layouts.
        remedy: &'static str,
    },
    /// A column that was asked for is missing.
    #[error("{place}: expected column {wanted}, found {}", list(found))]
    MissingColumn {
        /// The file, with the array in it if there is one.
        place: String,
        /// The name in quotes, or the number looked for.
        wanted: String,
        /// Names of the columns, or their numbers if they have no names.
        found: Vec<String>,
    },
    /// A file has no sample.
    #[error("{place}: expected at least one sample, found none")]
    Empty {
        /// The file, with the array in it if there is one.
        place: String,
    },
    /// Pairs were asked for of a set that has no noise.
    #[error("{place}: expected an NPZ file with the noise of each sample, such as `flowmap sample` writes")]
    NoNoise {
        /// The file, or the kind of data.
        place: String,
    },
    /// A file or a folder is not what the config says.
    #[error(transparent)]
    Folder(#[from] FolderFault),
    /// A text file has a line that is not a sample.
    #[error(transparent)]
    Text(#[from] TextFault),
    /// The values or the labels of the samples are out of their range.
    #[error(transparent)]
    Values(#[from] ValueFault),
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

//! Where the processors put what they find.

/// The sink takes no more: its budget of arguments, bytes or parts is used up.
/// The processor stops where it is and reports [`crate::ErrorKind::Full`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A file of a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// The part's `name`: what `FILES_NAMES` holds, and the key of `FILES`.
    pub field: &'a [u8],
    /// The part's `filename`: the value of `FILES`.
    pub filename: &'a [u8],
    /// The part's `filename*` (RFC 5987), decoded, where there is one beside
    /// `filename` and it differs: a name that the back end may prefer, so one
    /// more value of `FILES` under the same key.
    pub extended: Option<&'a [u8]>,
    /// The content, a slice of the body: `FILES_TMP_CONTENT`; its length is
    /// `FILES_SIZES`.
    pub content: &'a [u8],
}

/// Takes what a body holds. The slices live only for the call.
pub trait Sink {
    /// An argument: one of `ARGS_POST` (or of `ARGS_GET`, for a query string;
    /// or a cookie).
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full>;

    /// A file of a multipart body.
    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        let _ = file;
        Ok(())
    }

    /// One header line of a multipart part, as sent but without its line end,
    /// folded lines joined: an entry of `MULTIPART_PART_HEADERS` under `part`,
    /// the part's name. Handed over once the part's head is complete.
    fn part_header(&mut self, part: &[u8], line: &[u8]) -> Result<(), Full> {
        let _ = (part, line);
        Ok(())
    }

    /// The `name` of a multipart part: the latest is `MULTIPART_NAME`.
    fn part_name(&mut self, name: &[u8]) -> Result<(), Full> {
        let _ = name;
        Ok(())
    }

    /// The `filename` of a multipart part: the latest is `MULTIPART_FILENAME`.
    fn part_filename(&mut self, filename: &[u8]) -> Result<(), Full> {
        let _ = filename;
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        (**self).arg(name, value)
    }
    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        (**self).file(file)
    }
    fn part_header(&mut self, part: &[u8], line: &[u8]) -> Result<(), Full> {
        (**self).part_header(part, line)
    }
    fn part_name(&mut self, name: &[u8]) -> Result<(), Full> {
        (**self).part_name(name)
    }
    fn part_filename(&mut self, filename: &[u8]) -> Result<(), Full> {
        (**self).part_filename(filename)
    }
}

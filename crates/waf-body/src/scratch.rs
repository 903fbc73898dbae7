//! Buffers that the processors use again from one body to the next.

/// The caller keeps one per worker (or per transaction) and lends it to every
/// processor. It grows to what the largest body needed and no further; see
/// [`Scratch::shrink_to`].
#[derive(Debug, Default)]
pub struct Scratch {
    /// A decoded value.
    pub(crate) value: Vec<u8>,
    /// A decoded name, or the path of names down to where a parser stands.
    pub(crate) name: Vec<u8>,
    /// Bytes of a second kind: a boundary with its dashes, a decompressed message.
    pub(crate) extra: Vec<u8>,
    /// And of a third: a file's name; its `filename*`.
    pub(crate) filename: Vec<u8>,
    pub(crate) extended: Vec<u8>,
    /// Where the containers around a parser begin in `name`, and what they are.
    pub(crate) levels: Vec<Level>,
}

/// A container that a parser is inside of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Level {
    /// The length of the path of names that leads to this container.
    pub(crate) path: u32,
    /// For an array or a message, how many elements were seen; for an object,
    /// [`Level::OBJECT`].
    pub(crate) index: u32,
}

impl Level {
    /// In the place of an index: this container is an object.
    pub(crate) const OBJECT: u32 = u32::MAX;
}

impl Scratch {
    /// Gives back memory beyond `bytes` for each buffer, after an unusually
    /// large body.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.value.shrink_to(bytes);
        self.name.shrink_to(bytes);
        self.extra.shrink_to(bytes);
        self.filename.shrink_to(bytes);
        self.extended.shrink_to(bytes);
        self.levels.shrink_to(bytes / size_of::<Level>());
    }
}

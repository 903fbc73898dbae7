//! National identity numbers, for `@validateNid`.

/// Whose number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nid {
    /// Chile's RUT.
    Cl,
    /// The social security number of the United States.
    Us,
}

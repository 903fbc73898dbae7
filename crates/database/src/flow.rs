//! What is on its way between a client and a member during one batch: which
//! answers are expected, and which of them the client must not see because the
//! questions were ours.

use database_route::Verdict;
use database_route::session::Prepared;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// An answer that will come, in the order of the questions.
#[derive(Debug)]
pub(crate) enum Expect {
    /// `ParseComplete` of a client's `Parse`.
    Parse(Box<[u8]>, Option<Arc<Prepared>>),
    /// `ParseComplete` of our `Parse`, which the client does not see.
    OurParse(Box<[u8]>, Arc<Prepared>),
    /// `ParseComplete` that we give, because the member has the statement already.
    GivenParse(Box<[u8]>, Arc<Prepared>),
    /// `BindComplete`.
    Bind,
    /// `CloseComplete`, of a statement where it has a name.
    Close(Option<Box<[u8]>>),
    /// `RowDescription` or `NoData`.
    Describe,
    /// `CommandComplete`, `EmptyQueryResponse` or `PortalSuspended`.
    Execute,
    /// `ReadyForQuery` of a `Sync`.
    Sync,
    /// `ReadyForQuery` of a `Sync` of ours, which the client does not see.
    OurSync,
    /// `ReadyForQuery` of a `Query` or `FunctionCall`, and whatever comes before it.
    Query,
}

/// One batch under way.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) expect: VecDeque<Expect>,
    /// All of the batch was proved to be plain reads.
    pub(crate) read_only: bool,
    /// The batch's end was sent.
    pub(crate) sent_end: bool,
    /// The member takes `CopyData` from the client.
    pub(crate) copying_in: bool,
    /// The client ended its `CopyData`.
    pub(crate) copy_ended: bool,
    /// The batch is a `Query`: its `ReadyForQuery` comes without a `Sync`.
    pub(crate) simple: bool,
    /// What ran.
    pub(crate) verdicts: Vec<Arc<Verdict>>,
    /// Statements that ran.
    pub(crate) statements: u64,
    /// At least one statement completed.
    pub(crate) completed: bool,
    /// The client got something.
    pub(crate) answered: bool,
    /// Names of statements that the client prepared in this batch.
    pub(crate) parsed: HashSet<Box<[u8]>>,
    /// The rest of a long client message is thrown away.
    pub(crate) dropping: bool,
    /// The member said that it ends the connection.
    pub(crate) fatal: bool,
}

impl Flow {
    /// After an error, the member skips to the next `Sync` (manual 55.2.3).
    pub(crate) fn skip_to_sync(&mut self) {
        while let Some(front) = self.expect.front() {
            if matches!(front, Expect::Sync | Expect::OurSync | Expect::Query) {
                break;
            }
            self.expect.pop_front();
        }
    }

    /// `ReadyForQuery` came: takes what it answers.
    pub(crate) fn ready(&mut self) -> Option<Expect> {
        self.skip_to_sync();
        self.expect.pop_front()
    }

    /// Whether all that was asked is answered.
    pub(crate) fn is_over(&self) -> bool {
        self.sent_end && !self.copying_in && self.expect.is_empty()
    }
}

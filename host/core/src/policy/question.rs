//! A question to a policy and its answer, as values that can be kept: to be asked again elsewhere, compared, or written down.

use super::{Brief, Forecast, Look, Outlook, Placement, Placing, Verdict};

/// All that an answer depends on, but for settings and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Where should this object live?
    Place(Placing<Box<str>>),
    /// Which version will this write meet?
    Predict(Outlook),
    /// What becomes of this action, judged on patches?
    Judge {
        /// What is said of the case.
        brief: Brief<Box<str>>,
        /// What the action changes.
        ours: Vec<u8>,
        /// What was changed since its base.
        theirs: Option<Vec<u8>>,
    },
    /// What becomes of this action, judged on payloads?
    Reconcile {
        /// What is said of the case.
        brief: Brief<Box<str>>,
        /// The action's body.
        body: Vec<u8>,
        /// The object at the known version.
        base: Option<Vec<u8>>,
        /// The latest object.
        latest: Option<Vec<u8>>,
    },
}

/// What a policy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Place`].
    Placement(Placement),
    /// To [`Question::Predict`].
    Forecast(Forecast),
    /// To [`Question::Judge`] and [`Question::Reconcile`].
    Verdict(Verdict),
}

impl Question {
    /// A look at a case, to be kept.
    pub fn of_look(brief: &Brief<&str>, look: Look<'_>) -> Self {
        let (brief, kept) = (brief.kept(), |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec));
        match look {
            Look::Patches { ours, theirs } => Self::Judge { brief, ours: ours.to_vec(), theirs: kept(theirs) },
            Look::Payloads { body, base, latest } => {
                Self::Reconcile { brief, body: body.to_vec(), base: kept(base), latest: kept(latest) }
            }
        }
    }

    /// The function of the contract that is asked.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Place(_) => "get-shard-key",
            Self::Predict(_) => "predict",
            Self::Judge { .. } => "judge",
            Self::Reconcile { .. } => "reconcile",
        }
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let texts = |brief: &Brief<Box<str>>| brief.client.len() + brief.data_type.len() + brief.name.len();
        size_of::<Self>()
            + match self {
                Self::Place(placing) => placing.client.len() + placing.data_type.len() + placing.name.len(),
                Self::Predict(_) => 0,
                Self::Judge { brief, ours, theirs } => texts(brief) + ours.len() + len(theirs),
                Self::Reconcile { brief, body, base, latest } => texts(brief) + body.len() + len(base) + len(latest),
            }
    }
}

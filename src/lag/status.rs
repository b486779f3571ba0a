//! What is the matter with a group on a topic, in one word. Pure.

/// The status of a group, or of a group on one topic; a later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is read at some point of the window, or lag does not grow.
    Ok,
    /// The offset advances, and lag grows.
    Lagging,
    /// There is lag throughout the window, the offset stands still, and the group has members.
    Stalled,
    /// The same, and the group has none.
    Stopped,
    /// The offset fell back, or is past the end.
    Rewound,
    /// Messages were deleted before they were read.
    DataLoss,
}

impl Status {
    /// The value on the page.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// A word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Lagging => "lagging",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Rewound => "rewound",
            Self::DataLoss => "data loss",
        }
    }
}

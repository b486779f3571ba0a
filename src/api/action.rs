//! Actions of the management API that this program calls. All of them read; none returns message bodies or
//! passwords.

/// Action of the management API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `GetAllInstanceIdList`: instance ids by region, for the account.
    GetAllInstanceIdList,
    /// `GetInstanceList`: instances of a region.
    GetInstanceList,
    /// `GetTopicList`: topics of an instance, paginated.
    GetTopicList,
    /// `GetTopicStatus`: offsets of a topic.
    GetTopicStatus,
    /// `GetConsumerList`: consumer groups of an instance, paginated.
    GetConsumerList,
    /// `GetConsumerProgress`: offsets of a consumer group.
    GetConsumerProgress,
}

impl Action {
    /// All actions, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::GetAllInstanceIdList,
        Self::GetInstanceList,
        Self::GetTopicList,
        Self::GetTopicStatus,
        Self::GetConsumerList,
        Self::GetConsumerProgress,
    ];

    /// Returns the name in the API, which is also the value of the label `action`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GetAllInstanceIdList => "GetAllInstanceIdList",
            Self::GetInstanceList => "GetInstanceList",
            Self::GetTopicList => "GetTopicList",
            Self::GetTopicStatus => "GetTopicStatus",
            Self::GetConsumerList => "GetConsumerList",
            Self::GetConsumerProgress => "GetConsumerProgress",
        }
    }

    /// Returns the RAM permission that the action requires.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            Self::GetAllInstanceIdList | Self::GetInstanceList => "alikafka:ListInstance",
            Self::GetTopicList | Self::GetTopicStatus => "alikafka:ListTopic",
            Self::GetConsumerList | Self::GetConsumerProgress => "alikafka:ListGroup",
        }
    }
}

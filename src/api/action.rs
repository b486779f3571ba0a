//! The closed list of what this program can ask. Nothing here creates, changes, buys or deletes, and
//! nothing returns message bodies or passwords.

/// An action of the management API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `GetAllInstanceIdList`: region to instance ids, over the whole account.
    GetAllInstanceIdList,
    /// `GetInstanceList`: the instances of a region.
    GetInstanceList,
    /// `GetTopicList`: the topics of an instance, paged.
    GetTopicList,
    /// `GetTopicStatus`: the offsets of a topic.
    GetTopicStatus,
    /// `GetConsumerList`: the consumer groups of an instance, paged.
    GetConsumerList,
    /// `GetConsumerProgress`: the offsets of a consumer group.
    GetConsumerProgress,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [
        Self::GetAllInstanceIdList,
        Self::GetInstanceList,
        Self::GetTopicList,
        Self::GetTopicStatus,
        Self::GetConsumerList,
        Self::GetConsumerProgress,
    ];

    /// The name on the wire, and the value of the label `action`.
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

    /// The RAM action that the caller must be allowed.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            Self::GetAllInstanceIdList | Self::GetInstanceList => "alikafka:ListInstance",
            Self::GetTopicList | Self::GetTopicStatus => "alikafka:ListTopic",
            Self::GetConsumerList | Self::GetConsumerProgress => "alikafka:ListGroup",
        }
    }
}

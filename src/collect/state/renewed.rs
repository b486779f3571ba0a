//! A fleet under a new configuration: what is known stays, with its age, as far as it is still looked at.

use super::{Effects, InstanceEntry, PollTarget, RegionState};
use crate::model::{Filters, InstanceId};

impl RegionState {
    /// Takes in what another fleet knew of the same region, by its own filters and bounds. Units of what is
    /// not looked at any more are told as removed, those of what was not looked at as added.
    pub fn resume_from(&mut self, before: Self) -> Effects {
        let mut effects = Effects::default();
        self.list = before.list;
        self.first_pass_ended = before.first_pass_ended;
        self.instances = before.instances;
        // Of an instance whose name and tags are too old to be known, the next list decides.
        let is_hidden =
            |member: &InstanceEntry| member.info.get().is_some_and(|i| !self.filters.allow_instance(i));
        for (id, member) in self.instances.extract_if(.., |_, member| is_hidden(member)) {
            effects.removed.extend(member.targets(&id));
        }
        for (id, member) in &mut self.instances {
            member.hide(id, &self.filters, &mut effects);
        }
        effects
    }

    /// The lists that name what there is.
    pub fn lists(&self) -> Vec<PollTarget> {
        let serving = self.instances.iter().filter(|(_, member)| member.in_service).map(|(id, _)| id);
        let below = |id: &InstanceId| [PollTarget::Groups(id.clone()), PollTarget::Topics(id.clone())];
        std::iter::once(PollTarget::Instances).chain(serving.flat_map(below)).collect()
    }
}

impl InstanceEntry {
    fn hide(&mut self, id: &InstanceId, filters: &Filters, effects: &mut Effects) {
        self.view = None;
        for (topic, _) in self.topics.extract_if(.., |topic, _| !filters.topics.allows(topic.as_str())) {
            effects.removed.push(PollTarget::TopicStatus(id.clone(), topic));
        }
        for (group, _) in self.groups.extract_if(.., |group, _| !filters.groups.allows(group.as_str())) {
            effects.removed.push(PollTarget::GroupProgress(id.clone(), group));
            self.all_groups_listed = false;
        }
    }
}

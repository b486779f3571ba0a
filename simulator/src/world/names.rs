//! Names of seeded objects: plain ones, and ones that break what does not escape.

const DOMAINS: [&str; 16] = [
    "orders",
    "payments",
    "billing",
    "users",
    "sessions",
    "clicks",
    "shipments",
    "inventory",
    "audit",
    "search",
    "mail",
    "devices",
    "metrics",
    "refunds",
    "coupons",
    "reviews",
];
const KINDS: [&str; 8] =
    ["events", "changes", "commands", "log", "snapshots", "retries", "dead-letters", "views"];
const READERS: [&str; 8] =
    ["indexer", "archiver", "biller", "notifier", "loader", "auditor", "mirror", "scorer"];
const STRANGE: [&str; 10] = [
    "订单 事件",
    "say \"hi\"",
    "back\\slash\\n",
    " leading and trailing ",
    "a b*c~d/e+f=g&h%i",
    "line\nbreak\ttab",
    "emoji-🚚",
    "{a=\"b\"}#[c]",
    "100%25",
    "UPPER.lower_é",
];

fn pick(list: &[&'static str], i: usize) -> &'static str {
    list[i % list.len()]
}

/// The i-th topic's name. Each is another one.
pub(crate) fn topic(i: usize, strange: bool) -> String {
    named(
        i,
        strange,
        format!("{}-{}", pick(&DOMAINS, i), pick(&KINDS, i / DOMAINS.len())),
        DOMAINS.len() * KINDS.len(),
    )
}

/// The i-th group's name. Each is another one.
pub(crate) fn group(i: usize, strange: bool) -> String {
    named(
        i,
        strange,
        format!("{}-{}", pick(&DOMAINS, i), pick(&READERS, i / DOMAINS.len())),
        DOMAINS.len() * READERS.len(),
    )
}

/// The i-th instance's name. Not unique, as in life.
pub(crate) fn instance(i: usize, strange: bool) -> String {
    match (strange, i % 3) {
        (true, 1) => "生产 \"主\" 集群".to_owned(),
        (true, 2) => "<script>alert('\\')</script>".to_owned(),
        _ => format!("kafka-{}", pick(&DOMAINS, i)),
    }
}

fn named(i: usize, strange: bool, plain: String, distinct: usize) -> String {
    if strange && i % 2 == 1 {
        let (word, round) = (pick(&STRANGE, i / 2), i / 2 / STRANGE.len());
        return if round == 0 { word.to_owned() } else { format!("{word}{round}") };
    }
    if i < distinct { plain } else { format!("{plain}-{}", i / distinct) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_name_comes_twice() {
        for strange in [false, true] {
            assert_eq!((0..2_000).map(|i| super::topic(i, strange)).collect::<BTreeSet<_>>().len(), 2_000);
            assert_eq!((0..2_000).map(|i| super::group(i, strange)).collect::<BTreeSet<_>>().len(), 2_000);
        }
    }
}

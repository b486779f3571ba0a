//! Names of seeded objects: plain names, and names that need escaping.

const DOMAINS: [&str; 16] = [
    "orders", "payments", "billing", "users", "sessions", "clicks", "parcels", "stock", "audit", "search",
    "mail", "devices", "metrics", "refunds", "coupons", "reviews",
];
const KINDS: [&str; 8] =
    ["events", "changes", "commands", "log", "snapshots", "retries", "dead-letters", "views"];
const CONSUMERS: [&str; 8] =
    ["indexer", "archiver", "biller", "notifier", "loader", "auditor", "mirror", "scorer"];
const UNUSUAL: [&str; 10] = [
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

/// Returns the name of the i-th topic. Unique.
pub(crate) fn topic(i: usize, unusual: bool) -> String {
    named(
        i,
        unusual,
        format!("{}-{}", pick(&DOMAINS, i), pick(&KINDS, i / DOMAINS.len())),
        DOMAINS.len() * KINDS.len(),
    )
}

/// Returns the name of the i-th group. Unique.
pub(crate) fn group(i: usize, unusual: bool) -> String {
    named(
        i,
        unusual,
        format!("{}-{}", pick(&DOMAINS, i), pick(&CONSUMERS, i / DOMAINS.len())),
        DOMAINS.len() * CONSUMERS.len(),
    )
}

/// Returns the name of the i-th instance. Not unique, as in reality.
pub(crate) fn instance(i: usize, unusual: bool) -> String {
    match (unusual, i % 3) {
        (true, 1) => "生产 \"主\" 集群".to_owned(),
        (true, 2) => "<script>alert('\\')</script>".to_owned(),
        _ => format!("kafka-{}", pick(&DOMAINS, i)),
    }
}

fn named(i: usize, unusual: bool, plain: String, distinct: usize) -> String {
    if unusual && i % 2 == 1 {
        let (word, round) = (pick(&UNUSUAL, i / 2), i / 2 / UNUSUAL.len());
        return if round == 0 { word.to_owned() } else { format!("{word}{round}") };
    }
    if i < distinct { plain } else { format!("{plain}-{}", i / distinct) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        for unusual in [false, true] {
            assert_eq!((0..2_000).map(|i| super::topic(i, unusual)).collect::<BTreeSet<_>>().len(), 2_000);
            assert_eq!((0..2_000).map(|i| super::group(i, unusual)).collect::<BTreeSet<_>>().len(), 2_000);
        }
    }
}

//! The page at `/` for people: what this is, where the metrics are, and what is known of the fleet.
//!
//! Every name comes from the cloud or the configuration and is escaped. There is no script, the style is allowed
//! by its hash alone, and a form leads nowhere but here.

use std::fmt::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use crate::{health::Health, snapshot::Snapshot};

const STYLE: &str = include_str!("status_page.css");

/// Instances shown; the metrics have all.
const MAX_INSTANCES: usize = 500;

/// What the page says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusPage {
    /// The version of this program.
    pub version: String,
    /// The regions polled.
    pub regions: Vec<RegionSummary>,
}

/// One region of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionSummary {
    /// The account's name, where accounts are named.
    pub account: Option<String>,
    /// The region id.
    pub region: String,
    /// Whether the last attempt was complete; `None` before the first has ended.
    pub up: Option<bool>,
    /// When the lists were last read completely, in milliseconds since 1970-01-01 UTC.
    pub last_discovery: Option<i64>,
    /// Topics known, of all instances.
    pub topics: usize,
    /// Consumer groups known, of all instances.
    pub groups: usize,
    /// The instances known.
    pub instances: Vec<InstanceSummary>,
}

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceSummary {
    /// The instance id.
    pub id: String,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// Whether the last attempt was complete; `None` before the first has ended, or where none is made.
    pub up: Option<bool>,
    /// The state that the cloud tells.
    pub state: Option<&'static str>,
    /// Topics known.
    pub topics: usize,
    /// Consumer groups known.
    pub groups: usize,
}

impl StatusPage {
    /// What a snapshot says.
    #[must_use]
    pub fn of(version: &str, snapshot: &Snapshot) -> Self {
        let regions = snapshot.regions.iter().map(|view| RegionSummary {
            account: view.account.as_ref().map(ToString::to_string),
            region: view.region.to_string(),
            up: view.up,
            last_discovery: view.last_success.discovery.map(|at| at.get()),
            topics: view.objects.topics,
            groups: view.objects.groups,
            instances: view
                .instances
                .iter()
                .map(|view| InstanceSummary {
                    id: view.id.to_string(),
                    name: view.info.as_ref().and_then(|info| info.name.clone()),
                    up: view.up,
                    state: view.info.as_ref().and_then(|info| info.state).map(|state| state.label()),
                    topics: view.topics.len(),
                    groups: view.groups.len(),
                })
                .collect(),
        });
        Self { version: version.to_owned(), regions: regions.collect() }
    }
}

/// The `Content-Security-Policy` of the page.
pub(super) fn policy(has_form: bool) -> HeaderValue {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let form = if has_form { "'self'" } else { "'none'" };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action {form}; \
         frame-ancestors 'none'"
    );
    // Base64 is plain ASCII, so this cannot fail; without its style the page would still be whole.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// The page. `explain` is where groups are explained, if they are.
pub(super) fn html(
    status_page: &StatusPage,
    telemetry_path: &str,
    explain: Option<&'static str>,
    health: &Health,
) -> String {
    let (stopped, pending) = (&health.stopped(), &health.pending());
    StatusPageHtml { status_page, telemetry_path, explain, stopped, pending }.to_string()
}

struct StatusPageHtml<'a> {
    status_page: &'a StatusPage,
    telemetry_path: &'a str,
    explain: Option<&'static str>,
    stopped: &'a [String],
    pending: &'a [String],
}

impl fmt::Display for StatusPageHtml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>alikafka-exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<h1>alikafka-exporter <small>{}</small></h1>\n\
             <p>Prometheus exporter for Alibaba Cloud Message Queue for Apache Kafka</p>\n\
             <nav><a class=\"first\" href=\"{}\">Metrics</a><a href=\"/-/healthy\">Health</a>\
             <a href=\"/-/ready\">Readiness</a></nav>\n",
            HtmlEscaped(&self.status_page.version),
            HtmlEscaped(self.telemetry_path),
        )?;
        self.status(f)?;
        if let Some(path) = self.explain {
            form(f, path)?;
        }
        f.write_str("</header>\n")?;
        let mut room = MAX_INSTANCES;
        for region in &self.status_page.regions {
            let shown = region.instances.len().min(room);
            room -= shown;
            region.section(f, shown)?;
        }
        if self.status_page.regions.is_empty() {
            f.write_str("<p class=\"note\">No region is known yet.</p>\n")?;
        }
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

impl StatusPageHtml<'_> {
    fn status(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.stopped.is_empty() {
            let names = self.stopped.join(", ");
            return writeln!(
                f,
                "<p class=\"note\"><span class=\"down\">stopped</span> {}</p>",
                HtmlEscaped(&names)
            );
        }
        if !self.pending.is_empty() {
            let names = self.pending.join(", ");
            return writeln!(
                f,
                "<p class=\"note\"><span class=\"wait\">waiting for the first pass</span> {}</p>",
                HtmlEscaped(&names)
            );
        }
        f.write_str("<p class=\"note\"><span class=\"up\">ready</span></p>\n")
    }
}

impl RegionSummary {
    fn section(&self, f: &mut fmt::Formatter<'_>, shown: usize) -> fmt::Result {
        write!(f, "<section>\n<div class=\"title\"><h2>{}</h2>", HtmlEscaped(&self.region))?;
        if let Some(account) = &self.account {
            write!(f, "<span class=\"quiet\">account {}</span>", HtmlEscaped(account))?;
        }
        f.write_str(reached(self.up))?;
        let (instances, topics, groups) = (self.instances.len(), self.topics, self.groups);
        write!(
            f,
            "<span class=\"facts\">{}, {}, {}",
            CountedNoun(instances, "instance"),
            CountedNoun(topics, "topic"),
            CountedNoun(groups, "group"),
        )?;
        if let Some(at) = self.last_discovery.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) {
            write!(f, " &middot; listed {}", at.strftime("%F %T UTC"))?;
        }
        f.write_str("</span></div>\n")?;
        if shown > 0 {
            f.write_str(
                "<div class=\"scroll\"><table>\n<thead><tr><th>Instance</th><th>State</th>\
                 <th>Polling</th><th class=\"count\">Topics</th><th class=\"count\">Groups</th></tr></thead>\n\
                 <tbody>\n",
            )?;
            self.instances.iter().take(shown).try_for_each(|instance| instance.row(f))?;
            f.write_str("</tbody>\n</table></div>\n")?;
        }
        if shown < instances {
            writeln!(f, "<p class=\"more\">{} more not shown here</p>", instances - shown)?;
        }
        f.write_str("</section>\n")
    }
}

impl InstanceSummary {
    fn row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<tr><td>")?;
        // Isolated, so that letters of another direction cannot reorder what stands around them.
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            write!(f, "<b><bdi>{}</bdi></b>", HtmlEscaped(name))?;
        }
        writeln!(
            f,
            "<code><bdi>{}</bdi></code></td><td>{}</td><td>{}</td><td class=\"count\">{}</td>\
             <td class=\"count\">{}</td></tr>",
            HtmlEscaped(&self.id),
            self.state.unwrap_or("unknown"),
            reached(self.up),
            self.topics,
            self.groups,
        )
    }
}

/// Asks for the names of what is to be explained.
fn form(f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
    writeln!(f, "<form action=\"{path}\" method=\"get\">")?;
    let required = [("instance", "Instance id", " required"), ("group", "Group", " required")];
    for (name, label, required) in required.into_iter().chain([("topic", "Topic (all)", "")]) {
        writeln!(f, "<input name=\"{name}\" aria-label=\"{label}\" placeholder=\"{label}\"{required}>")?;
    }
    f.write_str("<button>Explain</button>\n</form>\n")
}

fn reached(up: Option<bool>) -> &'static str {
    match up {
        Some(true) => "<span class=\"up\">complete</span>",
        Some(false) => "<span class=\"down\">incomplete</span>",
        None => "<span class=\"wait\">not polled</span>",
    }
}

/// A number with its noun.
struct CountedNoun(usize, &'static str);

impl fmt::Display for CountedNoun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Text as HTML text or a quoted attribute; control characters as U+FFFD.
struct HtmlEscaped<'a>(&'a str);

impl fmt::Display for HtmlEscaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c if c.is_control() => f.write_char('\u{fffd}'),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status_page: &StatusPage) -> String {
        html(status_page, "/metrics", None, &Health::default())
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let hostile = "<script>alert(\"1\")</script>'&\u{7}";
        let instance = InstanceSummary {
            id: hostile.to_owned(),
            name: Some(hostile.to_owned()),
            ..InstanceSummary::default()
        };
        let region = RegionSummary {
            account: Some(hostile.to_owned()),
            region: hostile.to_owned(),
            instances: vec![instance],
            ..RegionSummary::default()
        };
        let health = Health::default();
        health.beat(hostile);
        let status_page = StatusPage { version: hostile.to_owned(), regions: vec![region] };
        let html = html(&status_page, hostile, None, &health);
        assert!(!html.contains("<script"));
        assert!(!html.contains("alert(\""));
        assert_eq!(
            html.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;\u{fffd}").count(),
            7
        );
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        let html = page(&StatusPage::default());
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        assert!(policy(false).to_str().unwrap().contains(&format!("style-src 'sha256-{hash}'")));
        assert!(!html.contains("style="));
    }

    #[test]
    fn a_form_is_there_where_it_leads_somewhere_and_leads_nowhere_else() {
        let with = html(&StatusPage::default(), "/metrics", Some("/debug/state"), &Health::default());
        assert!(with.contains("<form action=\"/debug/state\" method=\"get\">"));
        assert!(policy(true).to_str().unwrap().contains("form-action 'self'"));
        assert!(!page(&StatusPage::default()).contains("<form"));
        assert!(policy(false).to_str().unwrap().contains("form-action 'none'"));
    }

    #[test]
    fn a_great_fleet_is_cut_and_what_is_cut_is_said() {
        let region = |instances| RegionSummary {
            instances: vec![InstanceSummary::default(); instances],
            ..RegionSummary::default()
        };
        let html = page(&StatusPage { regions: vec![region(499), region(3)], ..StatusPage::default() });
        assert_eq!(html.matches("<tr><td>").count(), 500);
        assert!(html.contains("2 more not shown here"));
        assert!(html.contains("3 instances, 0 topics"));
    }
}

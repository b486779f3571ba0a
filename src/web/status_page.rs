//! Status page at `/`: links, readiness, and the monitored fleet.
//!
//! All names come from the API or the configuration and are escaped. It has no script, its style is allowed by
//! hash, and its form leads only to this server.

use std::fmt::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use crate::{health::Health, snapshot::Snapshot};

const STYLE: &str = include_str!("status_page.css");

/// Maximum number of instances shown. The metrics contain all of them.
const MAX_INSTANCES: usize = 500;

/// Content of the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusPage {
    /// Version of the exporter.
    pub version: String,
    /// Monitored regions.
    pub regions: Vec<RegionSummary>,
}

/// One region of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionSummary {
    /// Name of the account, if accounts are named.
    pub account: Option<String>,
    /// Region id.
    pub region: String,
    /// Whether the last attempt to poll the region was complete; `None` before the first has ended.
    pub up: Option<bool>,
    /// Time of the last complete discovery, in milliseconds since 1970-01-01 UTC.
    pub last_discovery: Option<i64>,
    /// Number of topics in all instances.
    pub topics: usize,
    /// Number of consumer groups in all instances.
    pub groups: usize,
    /// Instances.
    pub instances: Vec<InstanceSummary>,
}

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceSummary {
    /// Instance id.
    pub id: String,
    /// Display name.
    pub name: Option<String>,
    /// Whether the last attempt to poll the instance was complete; `None` before the first has ended, and for an
    /// instance that is not polled.
    pub up: Option<bool>,
    /// State as the API reports it.
    pub state: Option<&'static str>,
    /// Number of topics.
    pub topics: usize,
    /// Number of consumer groups.
    pub groups: usize,
}

impl StatusPage {
    /// Summarizes a snapshot.
    #[must_use]
    pub fn from_snapshot(version: &str, snapshot: &Snapshot) -> Self {
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

/// Returns the `Content-Security-Policy` of the status page.
pub(super) fn content_security_policy(has_form: bool) -> HeaderValue {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let form = if has_form { "'self'" } else { "'none'" };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action {form}; \
         frame-ancestors 'none'"
    );
    // Base64 is ASCII, so this cannot fail; the fallback only loses the style and the form.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Returns the status page as HTML. `debug_path` is the target of the form that explains a group; `None` omits the form.
pub(super) fn html(
    content: &StatusPage,
    telemetry_path: &str,
    debug_path: Option<&'static str>,
    health: &Health,
) -> String {
    let (stuck, awaited) = (&health.stopped(), &health.awaited_first_passes());
    StatusPageHtml { content, telemetry_path, debug_path, stuck, awaited }.to_string()
}

struct StatusPageHtml<'a> {
    content: &'a StatusPage,
    telemetry_path: &'a str,
    debug_path: Option<&'static str>,
    /// Names of stuck poll loops.
    stuck: &'a [String],
    /// Names of poll loops in their first pass.
    awaited: &'a [String],
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
            HtmlEscaped(&self.content.version),
            HtmlEscaped(self.telemetry_path),
        )?;
        self.write_readiness(f)?;
        if let Some(path) = self.debug_path {
            write_form(f, path)?;
        }
        f.write_str("</header>\n")?;
        let mut remaining = MAX_INSTANCES;
        for region in &self.content.regions {
            let shown = region.instances.len().min(remaining);
            remaining -= shown;
            region.write_section(f, shown)?;
        }
        if self.content.regions.is_empty() {
            f.write_str("<p class=\"note\">No region has been discovered yet.</p>\n")?;
        }
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

impl StatusPageHtml<'_> {
    fn write_readiness(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, text, names) = if !self.stuck.is_empty() {
            ("down", "stuck", self.stuck)
        } else if !self.awaited.is_empty() {
            ("wait", "waiting for the first pass", self.awaited)
        } else {
            return f.write_str("<p class=\"note\"><span class=\"up\">ready</span></p>\n");
        };
        let names = names.join(", ");
        writeln!(f, "<p class=\"note\"><span class=\"{class}\">{text}</span> {}</p>", HtmlEscaped(&names))
    }
}

impl RegionSummary {
    fn write_section(&self, f: &mut fmt::Formatter<'_>, shown: usize) -> fmt::Result {
        write!(f, "<section>\n<div class=\"title\"><h2>{}</h2>", HtmlEscaped(&self.region))?;
        if let Some(account) = &self.account {
            write!(f, "<span class=\"quiet\">account {}</span>", HtmlEscaped(account))?;
        }
        f.write_str(poll_status(self.up))?;
        let (instances, topics, groups) = (self.instances.len(), self.topics, self.groups);
        write!(
            f,
            "<span class=\"facts\">{}, {}, {}",
            CountedNoun(instances, "instance"),
            CountedNoun(topics, "topic"),
            CountedNoun(groups, "group"),
        )?;
        if let Some(at) = self.last_discovery.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) {
            write!(f, " &middot; discovered {}", at.strftime("%F %T UTC"))?;
        }
        f.write_str("</span></div>\n")?;
        if shown > 0 {
            f.write_str(
                "<div class=\"scroll\"><table>\n<thead><tr><th>Instance</th><th>State</th>\
                 <th>Polling</th><th class=\"count\">Topics</th><th class=\"count\">Groups</th></tr></thead>\n\
                 <tbody>\n",
            )?;
            self.instances.iter().take(shown).try_for_each(|instance| instance.write_row(f))?;
            f.write_str("</tbody>\n</table></div>\n")?;
        }
        if shown < instances {
            writeln!(f, "<p class=\"more\">{} more instances not shown</p>", instances - shown)?;
        }
        f.write_str("</section>\n")
    }
}

impl InstanceSummary {
    fn write_row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<tr><td>")?;
        // Isolated, so that right-to-left text does not reorder its surroundings.
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            write!(f, "<b><bdi>{}</bdi></b>", HtmlEscaped(name))?;
        }
        writeln!(
            f,
            "<code><bdi>{}</bdi></code></td><td>{}</td><td>{}</td><td class=\"count\">{}</td>\
             <td class=\"count\">{}</td></tr>",
            HtmlEscaped(&self.id),
            self.state.unwrap_or("unknown"),
            poll_status(self.up),
            self.topics,
            self.groups,
        )
    }
}

fn write_form(f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
    writeln!(f, "<form action=\"{path}\" method=\"get\">")?;
    let required = [("instance", "Instance id", " required"), ("group", "Group", " required")];
    for (name, label, required) in required.into_iter().chain([("topic", "Topic (all)", "")]) {
        writeln!(f, "<input name=\"{name}\" aria-label=\"{label}\" placeholder=\"{label}\"{required}>")?;
    }
    f.write_str("<button>Explain</button>\n</form>\n")
}

fn poll_status(up: Option<bool>) -> &'static str {
    match up {
        Some(true) => "<span class=\"up\">complete</span>",
        Some(false) => "<span class=\"down\">incomplete</span>",
        None => "<span class=\"wait\">not polled</span>",
    }
}

/// Number with a noun, in the plural unless the number is 1.
struct CountedNoun(usize, &'static str);

impl fmt::Display for CountedNoun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Text escaped for HTML text and quoted attributes, with control characters replaced by U+FFFD.
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

    fn status_html(content: &StatusPage) -> String {
        html(content, "/metrics", None, &Health::default())
    }

    #[test]
    fn names_are_escaped() {
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
        let content = StatusPage { version: hostile.to_owned(), regions: vec![region] };
        let html = html(&content, hostile, None, &health);
        assert!(!html.contains("<script"));
        assert!(!html.contains("alert(\""));
        assert_eq!(
            html.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;\u{fffd}").count(),
            7
        );
    }

    #[test]
    fn the_policy_allows_only_the_style_of_the_page() {
        let html = status_html(&StatusPage::default());
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        assert!(
            content_security_policy(false).to_str().unwrap().contains(&format!("style-src 'sha256-{hash}'"))
        );
        assert!(!html.contains("style="));
    }

    #[test]
    fn the_form_is_optional_and_leads_only_to_this_server() {
        let with = html(&StatusPage::default(), "/metrics", Some("/debug/state"), &Health::default());
        assert!(with.contains("<form action=\"/debug/state\" method=\"get\">"));
        assert!(content_security_policy(true).to_str().unwrap().contains("form-action 'self'"));
        assert!(!status_html(&StatusPage::default()).contains("<form"));
        assert!(content_security_policy(false).to_str().unwrap().contains("form-action 'none'"));
    }

    #[test]
    fn a_large_fleet_is_truncated_with_a_note() {
        let region = |instances| RegionSummary {
            instances: vec![InstanceSummary::default(); instances],
            ..RegionSummary::default()
        };
        let html =
            status_html(&StatusPage { regions: vec![region(499), region(3)], ..StatusPage::default() });
        assert_eq!(html.matches("<tr><td>").count(), 500);
        assert!(html.contains("2 more instances not shown"));
        assert!(html.contains("3 instances, 0 topics"));
    }
}

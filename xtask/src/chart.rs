//! The copies that the Helm chart carries: a chart holds all of its files, and cannot reach outside of its folder.

use std::{fs, io, path::Path};

use crate::Generated;

/// Where the chart looks for them.
const FOLDER: &str = "deploy/helm/alikafka-exporter/files";

/// Copies of the rules of `root`, and of those of the other generated files that are dashboards.
pub(crate) fn files(root: &Path, others: &[Generated]) -> io::Result<Vec<Generated>> {
    let mut copies: Vec<Generated> = others
        .iter()
        .filter(|file| file.path.starts_with("dashboards/"))
        .map(|file| Generated { path: format!("{FOLDER}/{}", file.path), text: file.text.clone() })
        .collect();
    let rules = root.join("config/rules");
    for entry in fs::read_dir(&rules)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rules.yml") {
            let text = fs::read_to_string(rules.join(&name))?;
            copies.push(Generated { path: format!("{FOLDER}/rules/{name}"), text });
        }
    }
    copies.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(copies)
}

//! Every link of the book, and whether there is something where it leads.
//!
//! The pages are mdbook's own output, whose attributes are all in double quotes: a search for them
//! finds each, and no parser is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

pub(crate) struct Found {
    pub(crate) pages: usize,
    pub(crate) links: usize,
}

fn is_page(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "html")
}

/// Names of files in the folder of the book, and the ids in those that are pages.
type Targets = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn check(folder: &Path) -> anyhow::Result<Found> {
    let mut targets = Targets::new();
    let mut links = Vec::new();
    for file in files(folder, "")? {
        let mut ids = BTreeSet::new();
        if is_page(&file) {
            let page = fs::read_to_string(folder.join(&file)).with_context(|| file.clone())?;
            ids.extend(attributes(&page, "id"));
            links.extend(attributes(&page, "href").map(|link| (file.clone(), link)));
        }
        targets.insert(file, ids);
    }
    links.retain(|(_, link)| !link.contains("://") && !link.starts_with("mailto:"));

    let dead: Vec<_> = links
        .iter()
        .filter(|(page, link)| !leads_somewhere(&targets, page, link))
        .map(|(page, link)| format!("{page}: {link}"))
        .collect();
    ensure!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
    let pages = targets.keys().filter(|file| is_page(file)).count();
    ensure!(!links.is_empty(), "no link was found, which cannot be");
    Ok(Found { pages, links: links.len() })
}

fn leads_somewhere(targets: &Targets, page: &str, link: &str) -> bool {
    let (file, id) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(file) = (if file.is_empty() { Some(page.to_owned()) } else { joined(folder, file) })
    else {
        return false;
    };
    targets.get(&file).is_some_and(|ids| id.is_empty() || ids.contains(id))
}

/// `None` if it leads out of all folders.
pub(crate) fn joined(folder: &str, link: &str) -> Option<String> {
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn attributes(page: &str, name: &str) -> impl Iterator<Item = String> {
    let start = format!(" {name}=\"");
    let values = page.split(&start).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0));
    values.map(|value| value.replace("&amp;", "&")).collect::<Vec<_>>().into_iter()
}

fn files(folder: &Path, below: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a name that is no UTF-8")?;
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            found.extend(files(folder, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

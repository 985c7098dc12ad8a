//! The documents hang together: each link leads somewhere, and each code block is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A document, as its links name it: what is below the root of the project.
struct Document {
    anchors: Vec<String>,
    links: Vec<String>,
    has_rust: bool,
}

fn documents() -> BTreeMap<PathBuf, Document> {
    let mut files = Vec::new();
    files.extend(["README.md", "CHANGELOG.md"].map(PathBuf::from));
    pages_in(Path::new("docs"), &mut files);
    files.into_iter().map(|file| (file.clone(), read(&file))).collect()
}

fn pages_in(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if root().join(&path).is_dir() {
            pages_in(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

fn read(file: &Path) -> Document {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut document = Document { anchors: Vec::new(), links: Vec::new(), has_rust: false };
    let mut heading = None::<String>;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let as_before = document.anchors.iter().filter(|known| **known == anchor).count();
                assert_eq!(as_before, 0, "{}: two headings #{anchor}", file.display());
                document.anchors.push(anchor);
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                document.has_rust |= language.split([',', ' ']).next() == Some("rust");
            }
            _ => {}
        }
    }
    document
}

/// What GitHub and mdbook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// `..` taken out, as who follows the link does. `None` if it leads out of the project.
fn joined(folder: &Path, link: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop().then_some(())?),
            part => path.push(part),
        }
    }
    Some(path)
}

fn leads_somewhere(documents: &BTreeMap<PathBuf, Document>, from: &Path, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        Some(from.to_owned())
    } else {
        joined(from.parent().unwrap_or(Path::new("")), file)
    };
    let Some(target) = target else { return false };
    match documents.get(&target) {
        Some(document) => anchor.is_empty() || document.anchors.iter().any(|it| it == anchor),
        None => anchor.is_empty() && root().join(target).exists(),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let mut count = 0;
    let mut dead = Vec::new();
    for (file, document) in &documents {
        for link in document.links.iter().filter(|link| !link.contains("://")) {
            count += 1;
            if !leads_somewhere(&documents, file, link) {
                dead.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
    assert!(count > 50, "only {count} links were found");
}

/// The book's own list, and the tables that docs/STORMS.md repeats.
const NO_PAGES: [&str; 2] = ["SUMMARY.md", "storms/report.md"];

#[test]
fn every_page_is_in_the_book() {
    let summary = read(Path::new("docs/SUMMARY.md")).links;
    for page in documents().into_keys() {
        let Ok(page) = page.strip_prefix("docs") else { continue };
        let page = page.to_str().unwrap();
        assert!(
            NO_PAGES.contains(&page) || summary.iter().any(|link| link == page),
            "docs/SUMMARY.md does not name {page}"
        );
    }
}

/// As doc tests, by being included in one of two libraries.
#[test]
fn every_code_block_is_compiled() {
    let libraries = [("tests/src/lib.rs", "../../"), ("tests/book/src/lib.rs", "../../../")]
        .map(|(file, up)| (fs::read_to_string(root().join(file)).unwrap(), up));
    let mut count = 0;
    for (file, _) in documents().into_iter().filter(|(_, document)| document.has_rust) {
        let is_in = |(library, up): &(String, &str)| {
            library.contains(&format!("#[doc = include_str!(\"{up}{}\")]", file.display()))
        };
        assert!(libraries.iter().any(is_in), "no library includes {}", file.display());
        count += 1;
    }
    assert!(count > 4, "only {count} documents with code were found");
}

/// Those in code spans: `.shared.errors` stands for `circuit_breaker.shared.errors`.
fn names_of_metrics_in(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let spans = Parser::new_ext(&text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Code(span) if span.starts_with("circuit_breaker.") => Some(span.into_string()),
        Event::Code(span) if span.starts_with('.') => Some(format!("circuit_breaker{span}")),
        _ => None,
    });
    spans.collect()
}

/// Those of metrics and of their attributes, as the code has them.
fn names_of_metrics_in_code() -> BTreeSet<String> {
    let folder = root().join("bindu-cb/src/telemetry");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let code: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let literals = code.split('"').filter(|literal| literal.starts_with("circuit_breaker."));
    literals.map(str::to_owned).collect()
}

#[test]
fn the_pages_name_the_metrics_that_there_are() {
    let exported = names_of_metrics_in_code();
    assert_eq!(names_of_metrics_in("docs/telemetry/README.md"), exported);
    let in_outages = names_of_metrics_in("docs/OUTAGES.md");
    let unknown: Vec<_> = in_outages.difference(&exported).collect();
    assert!(unknown.is_empty(), "docs/OUTAGES.md has {unknown:?}");
    assert!(in_outages.contains("circuit_breaker.shared.errors"), "{in_outages:?}");
}

//! The pages as GitHub shows them, made into those of the book: the ones that lie beside `docs/` are
//! its first and its last, and a file that is in no book is named in place of a link to it.

use std::fs;
use std::path::PathBuf;

use mdbook_driver::book::{Book, BookItem, Chapter};
use mdbook_driver::errors::Result;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use crate::links::joined;

pub(crate) struct Relinked {
    /// Where `docs/` lies.
    pub(crate) root: PathBuf,
}

impl Relinked {
    fn of_the_root(&self, name: &str, file: &str) -> Result<BookItem> {
        let text = fs::read_to_string(self.root.join(file))?;
        let page = page_of(file).expect("it is one of those");
        Ok(Chapter::new(name, relinked(&text, file), page, Vec::new()).into())
    }
}

impl Preprocessor for Relinked {
    fn name(&self) -> &'static str {
        "relinked"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        book.for_each_chapter_mut(|chapter| {
            if let Some(file) = chapter.source_path.as_ref().and_then(|path| path.to_str()) {
                chapter.content = relinked(&chapter.content, &format!("docs/{file}"));
            }
        });
        book.items.insert(0, self.of_the_root("bindu-cb", "README.md")?);
        book.push_item(self.of_the_root("Changes", "CHANGELOG.md")?);
        Ok(book)
    }
}

/// Where a file of the project is in the book.
fn page_of(file: &str) -> Option<String> {
    match file {
        "README.md" => Some("index.md".to_owned()),
        "CHANGELOG.md" => Some(file.to_owned()),
        _ => {
            let file = file.strip_prefix("docs/")?;
            let folder = file.strip_suffix("README.md");
            Some(folder.map_or(file.to_owned(), |folder| format!("{folder}index.md")))
        }
    }
}

/// In: the text of a file of the project. Out: the same, with the links that it has in the book.
fn relinked(text: &str, file: &str) -> String {
    let mut relinked = text.to_owned();
    let links: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES)
        .into_offset_iter()
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) => {
                Some((dest_url, range))
            }
            _ => None,
        })
        .filter(|(link, _)| !link.contains("://") && !link.starts_with('#'))
        .collect();
    // From the end, so that what is before stays where it is.
    for (link, range) in links.into_iter().rev() {
        if let Some(new) = link_in_book(&text[range.clone()], &link, file) {
            relinked.replace_range(range, &new);
        }
    }
    relinked
}

/// `None` where it leads out of the project: the check of links has that.
fn link_in_book(source: &str, link: &str, file: &str) -> Option<String> {
    let (target, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let target = joined(folder, target)?;
    let label = source.strip_suffix(&format!("]({link})"))?.strip_prefix('[')?;
    Some(match page_of(&target) {
        Some(page) => {
            let depth = page_of(file)?.matches('/').count();
            format!("[{label}]({}{page}{anchor})", "../".repeat(depth))
        }
        None if label == target => format!("`{target}`"),
        None if label.contains(&target) => label.to_owned(),
        None => format!("{label} (`{target}`)"),
    })
}

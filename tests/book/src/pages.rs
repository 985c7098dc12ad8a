//! The pages that lie beside `docs/`: to GitHub they are the project's, to a reader of the book its
//! first and its last.

use std::fs;
use std::path::PathBuf;

use mdbook_driver::book::{Book, BookItem, Chapter};
use mdbook_driver::errors::Result;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

pub(crate) struct OfTheRoot {
    pub(crate) root: PathBuf,
}

impl OfTheRoot {
    fn chapter(&self, name: &str, file: &str, page: &str) -> Result<BookItem> {
        let text = fs::read_to_string(self.root.join(file))?.replace("](docs/", "](");
        Ok(Chapter::new(name, text, page, Vec::new()).into())
    }
}

impl Preprocessor for OfTheRoot {
    fn name(&self) -> &'static str {
        "pages-of-the-root"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        book.for_each_chapter_mut(|chapter| {
            chapter.content = chapter
                .content
                .replace("](../README.md", "](index.md")
                .replace("](../CHANGELOG.md", "](CHANGELOG.md");
        });
        book.items.insert(0, self.chapter("bindu-cb", "README.md", "index.md")?);
        book.push_item(self.chapter("Changes", "CHANGELOG.md", "CHANGELOG.md")?);
        Ok(book)
    }
}

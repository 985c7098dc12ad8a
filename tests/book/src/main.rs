//! Builds the guide, `docs/`, as a book in `target/book`, and fails if a link in it leads nowhere.

mod links;
mod pages;

use std::path::Path;

use anyhow::Context;
use mdbook_driver::MDBook;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.ancestors().nth(2).context("the package is two folders below the root")?;
    let mut book = MDBook::load(root.join("docs"))?;
    book.with_preprocessor(pages::Relinked { root: root.to_owned() });
    book.build()?;

    let folder = book.build_dir_for("html").canonicalize()?;
    let links::Found { pages, links } = links::check(&folder)?;
    println!("{}: {pages} pages, {links} links, each leads somewhere", folder.display());
    Ok(())
}

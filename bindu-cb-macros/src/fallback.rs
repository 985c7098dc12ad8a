//! What is emitted when something is wrong.

use proc_macro2::TokenStream;

/// The item as it was given, or expanded without what is wrong, and the errors: without the item,
/// every use of the function would be one more error.
pub(crate) fn with_error(mut item: TokenStream, error: &syn::Error) -> TokenStream {
    item.extend(error.to_compile_error());
    item
}

//! The names of operations as parts of keys.

/// What the keys of a circuit have in common, as a hash tag, so that on a cluster they are in one
/// slot: `{<namespace>/<op>}`. A brace of a name would end the tag, and a `/` of the namespace be
/// taken for the one that ends it: they are escaped, and so is the `%` that escapes.
pub(crate) fn key_part(namespace: &str, op: &str) -> String {
    let mut part = namespace_part(namespace);
    part.pop();
    part.push('/');
    op.chars().for_each(|c| push_escaped(&mut part, c));
    part.push('}');
    part
}

/// The hash tag of what is the namespace's own: `{<namespace>}`.
pub(crate) fn namespace_part(namespace: &str) -> String {
    let mut part = String::with_capacity(namespace.len() + 2);
    part.push('{');
    for c in namespace.chars() {
        match c {
            '/' => part.push_str("%2F"),
            c => push_escaped(&mut part, c),
        }
    }
    part.push('}');
    part
}

fn push_escaped(part: &mut String, c: char) {
    match c {
        '%' => part.push_str("%25"),
        '{' => part.push_str("%7B"),
        '}' => part.push_str("%7D"),
        c => part.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_readable() {
        assert_eq!(key_part("default", "storage:save"), "{default/storage:save}");
        assert_eq!(key_part("default", "storage/timeout"), "{default/storage/timeout}");
        assert_eq!(key_part("a/b", "{x}%"), "{a%2Fb/%7Bx%7D%25}");
    }

    /// The names of a key's part; none but injective functions have this inverse.
    fn names_in(part: &str) -> Option<(String, String)> {
        let (namespace, op) = part.strip_prefix('{')?.strip_suffix('}')?.split_once('/')?;
        let plain = |escaped: &str| {
            ["%2F/", "%7B{", "%7D}", "%25%"].iter().fold(escaped.to_owned(), |text, escape| {
                let (from, to) = escape.split_at(3);
                text.replace(from, to)
            })
        };
        Some((plain(namespace), plain(op)))
    }

    proptest! {
        #[test]
        fn different_names_never_have_the_same_key_and_one_tag_holds_all(
            namespace in "[a%/{}27BDF5]{0,8}|.{0,8}",
            op in "[a%/{}27BDF5]{0,8}|.{0,8}",
        ) {
            let part = key_part(&namespace, &op);
            prop_assert_eq!(part.rfind('{'), Some(0));
            prop_assert_eq!(part.find('}'), Some(part.len() - 1));
            prop_assert_eq!(names_in(&part), Some((namespace, op)));
        }
    }
}

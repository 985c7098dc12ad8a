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

/// The operation whose [`key_part`] this is, in this namespace. `None` of what is no such part.
pub(crate) fn operation_in(namespace: &str, part: &str) -> Option<String> {
    let mut rest = part.strip_prefix(namespace_part(namespace).strip_suffix('}')?)?;
    rest = rest.strip_prefix('/')?.strip_suffix('}')?;
    let mut op = String::with_capacity(rest.len());
    while let Some(at) = rest.find('%') {
        op.push_str(&rest[..at]);
        op.push(match rest.get(at + 1..at + 3)? {
            "25" => '%',
            "7B" => '{',
            "7D" => '}',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    op.push_str(rest);
    // Somebody else's key may hold what we would have escaped.
    (key_part(namespace, &op) == part).then_some(op)
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

    #[test]
    fn what_is_no_part_of_this_namespace_has_no_operation() {
        for part in ["{a/x", "a/x}", "{b/x}", "{ab/x}", "{a%2Fb/x}", "{a}", "{a/{x}", "{a/x}y}"] {
            assert_eq!(operation_in("a", part), None, "{part}");
        }
        for part in ["{a/%}", "{a/%2}", "{a/%2F}", "{a/%é}", "{a/%7b}"] {
            assert_eq!(operation_in("a", part), None, "{part}");
        }
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
            // None but injective functions have an inverse.
            prop_assert_eq!(operation_in(&namespace, &part), Some(op));
            let rest = part.split_once('/').map(|(_, rest)| rest);
            let elsewhere = format!("{{another one/{}", rest.unwrap());
            prop_assert_eq!(operation_in(&namespace, &elsewhere), None);
        }
    }
}

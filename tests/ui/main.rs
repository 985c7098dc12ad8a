//! What the attributes accept, and what they say of what they do not.

#[test]
fn attributes_accept_and_refuse_what_they_should() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}

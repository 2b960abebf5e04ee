//! Whether the examples of the crates are run: one that only compiles may long have been wrong.

use super::metadata::Metadata;

/// Examples that another test runs, with its file.
const RUN_ELSEWHERE: [(&str, &str); 1] = [("restore", "crates/eps-cli/tests/command.rs")];

/// Lists the examples whose own tests are not run.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut violations = Vec::new();
    for package in metadata.members() {
        for target in &package.targets {
            let is_example = target.kind.iter().any(|kind| kind == "example");
            let is_run_elsewhere = RUN_ELSEWHERE.iter().any(|(name, _)| *name == target.name);
            if is_example && !target.test && !is_run_elsewhere {
                violations.push(format!(
                    "the example `{}` of `{}` is run by no test: call its `main` in a test of its own, and \
                     write `test = true` below `[[example]]` in the manifest",
                    target.name, package.name
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::metadata::{Package, Target};
    use super::*;

    #[test]
    fn an_example_that_is_only_compiled_is_named() {
        let target = |name: &str, kind: &str, test| Target {
            name: name.into(),
            kind: vec![kind.into()],
            test,
            ..Target::default()
        };
        let targets = vec![
            target("posterior", "example", true),
            target("restore", "example", false),
            target("forgotten", "example", false),
            target("program", "bin", false),
        ];
        let package =
            Package { id: "eps".into(), name: "eps".into(), targets, ..Package::default() };
        let metadata = Metadata {
            packages: vec![package],
            workspace_members: ["eps".to_owned()].into(),
            ..Metadata::default()
        };
        let found = check(&metadata);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("the example `forgotten` of `eps`"), "{found:?}");
    }
}

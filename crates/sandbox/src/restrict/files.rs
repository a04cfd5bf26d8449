//! What may be read and written: Landlock, see `landlock(7)`.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest version of which something is used; those after it add what is not needed here.
const NEWEST: ABI = ABI::V6;

/// Which version of Landlock this kernel has, 6 at most; `None`: none, or it is switched off.
pub(crate) fn version() -> Option<u32> {
    [
        (6, ABI::V6),
        (5, ABI::V5),
        (3, ABI::V3),
        (2, ABI::V2),
        (1, ABI::V1),
    ]
    .into_iter()
    .find(|(_, abi)| is_there(*abi))
    .map(|(number, _)| number)
}

fn is_there(abi: ABI) -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi));
    let ruleset = match Scope::from_all(abi) {
        none if none.is_empty() => ruleset,
        scopes => ruleset.and_then(|ruleset| ruleset.scope(scopes)),
    };
    ruleset.and_then(Ruleset::create).is_ok()
}

/// From here on only these; and signals and abstract sockets of others are out of reach where the kernel can do that.
pub(super) fn restrict(read: &[PathBuf], write: &[PathBuf]) -> Result<(), Wrong> {
    // A device file of one's own making would lead around everything else.
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(
            write,
            AccessFs::from_all(NEWEST) & !devices,
        ))?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(Wrong::Missing),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Why files are not restricted.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The kernel has none.
    Missing,
    /// It refused.
    Refused(RulesetError),
}

impl From<RulesetError> for Wrong {
    fn from(error: RulesetError) -> Self {
        Self::Refused(error)
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("this kernel has none, or it is switched off"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

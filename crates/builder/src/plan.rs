//! From instructions to stages: what has to be built, and in which order.
//!
//! Stages that the target does not need are dropped. What a `FROM` or a `--from` names is decided
//! here: an earlier stage, or an image.

use std::collections::{BTreeMap, BTreeSet};

use oriel_image::Digest;

use crate::{
    BuildRequest, DockerfileError, Problem, StepId, StepView, epoch, expand,
    parse::{Dockerfile, Instruction, Pair, Statement, shortened},
};

/// A planned build.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The escape character of the Dockerfile.
    pub(crate) escape: char,
    /// `ARG`s before the first `FROM`, which are steps too.
    pub(crate) globals: Vec<Statement>,
    /// Values of those.
    pub(crate) arguments: BTreeMap<String, String>,
    /// The stages needed, in the order of the Dockerfile; the last is the result.
    pub(crate) stages: Vec<Stage>,
    /// Build arguments that no `ARG` declares.
    pub(crate) unused: Vec<String>,
    /// What the parser warns about.
    pub(crate) warnings: Vec<String>,
}

/// One stage.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its number in the Dockerfile.
    pub(crate) index: usize,
    /// Its name.
    pub(crate) name: Option<String>,
    /// What it stands on.
    pub(crate) base: Base,
    /// Its `FROM`.
    pub(crate) from: Statement,
    /// The `FROM` as a step.
    pub(crate) id: StepId,
    /// The rest of its instructions.
    pub(crate) steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Debug)]
pub(crate) struct Step {
    /// Which one it is.
    pub(crate) id: StepId,
    /// The instruction.
    pub(crate) statement: Statement,
    /// For `COPY --from`, what it names.
    pub(crate) source: Option<Base>,
    /// For each `RUN --mount`, what its `from` names.
    pub(crate) mounts: Vec<Option<Base>>,
}

impl Step {
    /// The step of a statement after the stages `earlier`.
    pub(crate) fn new(statement: Statement, earlier: &[Stage]) -> Result<Self, DockerfileError> {
        let base = |from: &Option<String>| {
            from.as_ref().map(|from| source(&statement, from, earlier)).transpose()
        };
        let (source, mounts) = match &statement.instruction {
            Instruction::Transfer(transfer) => (base(&transfer.from)?, Vec::new()),
            Instruction::Run(run) => {
                let mounts = run.mounts.iter().map(|mount| base(&mount.from));
                (None, mounts.collect::<Result<_, _>>()?)
            }
            _ => (None, Vec::new()),
        };
        Ok(Self { id: StepId(0), statement, source, mounts })
    }

    /// Everything that it takes from elsewhere.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Base> {
        self.source.iter().chain(self.mounts.iter().flatten())
    }
}

/// What a stage stands on or copies from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// The stage of this number.
    Stage(usize),
    /// An image of this name.
    Image(String),
}

impl Base {
    /// The name of an image.
    fn image(&self) -> Option<&str> {
        match self {
            Self::Stage(_) => None,
            Self::Image(name) => Some(name),
        }
    }
}

impl Plan {
    /// Plans a Dockerfile.
    pub(crate) fn new(file: Dockerfile, request: &BuildRequest) -> Result<Self, DockerfileError> {
        let declared = declared(&file.statements);
        let mut statements = file.statements.into_iter().peekable();
        let mut globals = Vec::new();
        let mut arguments = platform_arguments();
        while let Some(statement) = statements.next_if(|s| !is_from(s)) {
            let Instruction::Arg(list) = &statement.instruction else {
                return Err(statement.error(Problem::NoStage));
            };
            for (name, default) in list {
                declare(
                    name,
                    default.as_deref(),
                    (&statement, file.escape, request),
                    &mut arguments,
                )?;
            }
            globals.push(statement);
        }
        let mut stages: Vec<Stage> = Vec::new();
        for statement in statements {
            if is_from(&statement) {
                stages.push(stage(statement, &stages, &arguments, file.escape)?);
            } else if let Some((stage, earlier)) = stages.split_last_mut() {
                stage.steps.push(Step::new(statement, earlier)?);
            }
        }
        if stages.is_empty() {
            return Err(DockerfileError::whole(Problem::NoStage));
        }
        check_order(&stages)?;
        let mut stages = needed(stages, target(&request.target)?.as_ref(), &request.target)?;
        add_labels(&mut stages, request, file.escape);
        let known = |name: &&String| !declared.contains(*name) && !is_predefined(name);
        let unused = request.build_args.keys().filter(known).cloned().collect();
        number(&mut stages, globals.len());
        let escape = file.escape;
        Ok(Self { escape, globals, arguments, stages, unused, warnings: file.warnings })
    }

    /// Number of steps, as `Step 1/n` counts them.
    pub(crate) fn steps(&self) -> usize {
        self.globals.len() + self.stages.iter().map(|stage| stage.steps.len() + 1).sum::<usize>()
    }

    /// The steps as they are shown, in the order of the Dockerfile; the place of each in the list
    /// is its id.
    pub(crate) fn views(&self) -> Vec<StepView> {
        let mut views: Vec<StepView> = Vec::with_capacity(self.steps());
        let mut push = |statement: &Statement, stage: Option<&Stage>, inputs: Vec<StepId>| {
            let id = StepId(views.len());
            let inputs: Vec<_> = inputs.iter().filter_map(|input| views.get(input.0)).collect();
            let view = view(id, statement, stage, &inputs);
            views.push(StepView { number: Some(id.0 + 1), total: self.steps(), ..view });
        };
        for statement in &self.globals {
            push(statement, None, Vec::new());
        }
        for stage in &self.stages {
            push(&stage.from, Some(stage), self.last_steps([&stage.base]));
            for step in &stage.steps {
                let mut inputs = vec![StepId(step.id.0 - 1)];
                inputs.extend(self.last_steps(step.sources()));
                push(&step.statement, Some(stage), inputs);
            }
        }
        views
    }

    /// The last steps of those of the bases that are stages.
    fn last_steps<'a>(&self, bases: impl IntoIterator<Item = &'a Base>) -> Vec<StepId> {
        let stages = bases.into_iter().filter_map(|base| match base {
            Base::Stage(index) => self.stages.iter().find(|stage| stage.index == *index),
            Base::Image(_) => None,
        });
        stages.map(|stage| StepId(stage.id.0 + stage.steps.len())).collect()
    }
}

/// Numbers the steps in the order of the Dockerfile.
fn number(stages: &mut [Stage], first: usize) {
    let mut ids = (first..).map(StepId);
    for stage in stages {
        stage.id = ids.next().unwrap_or(StepId(first));
        for (step, id) in stage.steps.iter_mut().zip(&mut ids) {
            step.id = id;
        }
    }
}

/// A step as it is shown, not counted. `inputs` are those that have to be done before.
pub(crate) fn view(
    id: StepId,
    statement: &Statement,
    stage: Option<&Stage>,
    inputs: &[&StepView],
) -> StepView {
    let index = stage.map(|stage| stage.index);
    let before: Vec<_> = inputs.iter().map(|input| input.digest.to_string()).collect();
    let whole = format!("{}\n{index:?}\n{before:?}\n{}", id.0, statement.text);
    StepView {
        id,
        digest: Digest::of(whole.as_bytes()),
        stage: index,
        stage_name: stage.and_then(|stage| stage.name.clone()),
        number: None,
        total: 0,
        text: statement.text.clone(),
        position: statement.position,
        inputs: inputs.iter().map(|input| input.id).collect(),
    }
}

/// Whether a build argument needs no `ARG`. The list is Docker's.
pub(crate) fn is_proxy(name: &str) -> bool {
    const PROXIES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Whether a build argument means something to the builder itself.
fn is_predefined(name: &str) -> bool {
    is_proxy(name) || name == epoch::NAME || name.starts_with("BUILDKIT_")
}

fn is_from(statement: &Statement) -> bool {
    matches!(statement.instruction, Instruction::From { .. })
}

fn declared(statements: &[Statement]) -> BTreeSet<String> {
    let arguments = statements.iter().filter_map(|statement| match &statement.instruction {
        Instruction::Arg(list) => Some(list.iter().map(|(name, _)| name.clone())),
        _ => None,
    });
    arguments.flatten().collect()
}

/// Arguments that describe the platform; `FROM --platform=$BUILDPLATFORM` is common.
pub(crate) fn platform_arguments() -> BTreeMap<String, String> {
    const PARTS: &[(&str, &str)] = &[
        ("PLATFORM", "windows/amd64"),
        ("OS", "windows"),
        ("OSVERSION", ""),
        ("ARCH", "amd64"),
        ("VARIANT", ""),
    ];
    let sides = ["TARGET", "BUILD"].into_iter();
    sides
        .flat_map(|side| PARTS.iter().map(move |(part, value)| (format!("{side}{part}"), value)))
        .map(|(name, value)| (name, (*value).to_owned()))
        .collect()
}

fn declare(
    name: &str,
    default: Option<&str>,
    (statement, escape, request): (&Statement, char, &BuildRequest),
    arguments: &mut BTreeMap<String, String>,
) -> Result<(), DockerfileError> {
    let value = match (request.build_args.get(name), default) {
        (Some(Some(given)), _) => Some(given.clone()),
        (_, Some(default)) => Some(expanded(default, statement, arguments, escape)?),
        _ => None,
    };
    if let Some(value) = value {
        arguments.insert(name.to_owned(), value);
    }
    Ok(())
}

fn expanded(
    word: &str,
    statement: &Statement,
    arguments: &BTreeMap<String, String>,
    escape: char,
) -> Result<String, DockerfileError> {
    // Names have no case on Windows; one that is written the same comes first.
    let any_case = |name: &str| {
        let same = |(key, _): &(&String, _)| key.eq_ignore_ascii_case(name);
        arguments.iter().find(same).map(|(_, value)| value)
    };
    let value = |name: &str| arguments.get(name).or_else(|| any_case(name)).cloned();
    expand::word(word, escape, &value)
        .map_err(|problem| statement.error(Problem::Expansion { word: shortened(word), problem }))
}

fn stage(
    from: Statement,
    earlier: &[Stage],
    arguments: &BTreeMap<String, String>,
    escape: char,
) -> Result<Stage, DockerfileError> {
    let Instruction::From { image, name, platform } = &from.instruction else {
        return Err(from.error(Problem::NoStage));
    };
    if let Some(platform) = platform {
        let platform = expanded(platform, &from, arguments, escape)?;
        check_platform(&platform).map_err(|problem| from.error(problem))?;
    }
    let resolved = expanded(image, &from, arguments, escape)?;
    if resolved.is_empty() {
        return Err(from.error(Problem::BlankBase { written: image.clone() }));
    }
    if resolved == "scratch" {
        return Err(from.error(Problem::FromScratch));
    }
    if let Some(name) = name.as_ref().filter(|name| named(earlier, name).is_some()) {
        return Err(from.error(Problem::RepeatedStageName { name: name.clone() }));
    }
    let base = named(earlier, &resolved).map_or(Base::Image(resolved), Base::Stage);
    let (index, name) = (earlier.len(), name.clone());
    Ok(Stage { index, name, base, from, id: StepId(0), steps: Vec::new() })
}

/// Refuses platforms other than Windows on x86-64.
pub(crate) fn check_platform(platform: &str) -> Result<(), Problem> {
    let lower = platform.to_ascii_lowercase();
    let mut parts = lower.split('/');
    let os = parts.next().unwrap_or_default();
    // Clients may append the version: `windows(10.0.20348.1)/amd64`.
    let windows = os.is_empty() || os == "windows" || os.starts_with("windows(");
    if windows && parts.next().is_none_or(|arch| arch == "amd64") && parts.next().is_none() {
        return Ok(());
    }
    Err(Problem::BadPlatform { platform: platform.to_owned() })
}

fn named(stages: &[Stage], name: &str) -> Option<usize> {
    let same = |stage: &Stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
    stages.iter().position(same)
}

/// What `--from` and `from=` name.
fn source(statement: &Statement, from: &str, earlier: &[Stage]) -> Result<Base, DockerfileError> {
    if let Some(stage) = named(earlier, from) {
        return Ok(Base::Stage(stage));
    }
    match from.parse::<usize>() {
        Ok(number) if number < earlier.len() => Ok(Base::Stage(number)),
        Ok(number) if number == earlier.len() => {
            Err(statement.error(Problem::CircularStage { name: from.to_owned() }))
        }
        Ok(_) => Err(statement.error(Problem::UnknownStage { value: from.to_owned() })),
        Err(_) if from.contains('$') => {
            Err(statement.error(Problem::VariableStage { value: shortened(from) }))
        }
        Err(_) => Ok(Base::Image(from.to_owned())),
    }
}

/// Refuses steps that take from their own stage or from one after it. `FROM` may name an image
/// like its own stage or a later one: it has always meant the image.
fn check_order(stages: &[Stage]) -> Result<(), DockerfileError> {
    let numbers: BTreeMap<String, usize> = stages
        .iter()
        .filter_map(|stage| Some((stage.name.as_ref()?.to_lowercase(), stage.index)))
        .collect();
    for stage in stages {
        for step in &stage.steps {
            for name in step.sources().filter_map(Base::image) {
                let problem = match numbers.get(&name.to_lowercase()) {
                    Some(number) if *number == stage.index => {
                        Problem::CircularStage { name: name.to_owned() }
                    }
                    Some(_) => Problem::LaterStage { name: name.to_owned() },
                    None => continue,
                };
                return Err(step.statement.error(problem));
            }
        }
    }
    Ok(())
}

/// What `target` names: a stage by number or by name.
enum Target {
    Number(usize),
    Name(String),
}

fn target(text: &str) -> Result<Option<Target>, DockerfileError> {
    Ok(match (text, text.parse()) {
        ("", _) => None,
        (_, Ok(number)) => Some(Target::Number(number)),
        (name, _) => Some(Target::Name(name.to_owned())),
    })
}

/// Keeps the stages that the target needs.
fn needed(
    stages: Vec<Stage>,
    target: Option<&Target>,
    text: &str,
) -> Result<Vec<Stage>, DockerfileError> {
    let last = match target {
        None => Some(stages.len() - 1),
        Some(Target::Number(number)) => Some(*number).filter(|number| *number < stages.len()),
        Some(Target::Name(name)) => named(&stages, name),
    };
    let Some(last) = last else {
        return Err(DockerfileError::whole(Problem::UnknownTarget { target: text.to_owned() }));
    };
    let mut wanted = BTreeSet::from([last]);
    for stage in stages[..=last].iter().rev() {
        if !wanted.contains(&stage.index) {
            continue;
        }
        let sources = stage.steps.iter().flat_map(Step::sources);
        wanted.extend(sources.chain([&stage.base]).filter_map(|base| match base {
            Base::Stage(index) => Some(*index),
            Base::Image(_) => None,
        }));
    }
    Ok(stages.into_iter().filter(|stage| wanted.contains(&stage.index)).collect())
}

/// Adds the labels of the request as one more step, as Docker does.
fn add_labels(stages: &mut [Stage], request: &BuildRequest, escape: char) {
    let Some(stage) = stages.last_mut().filter(|_| !request.labels.is_empty()) else { return };
    let text: String = request.labels.iter().map(|(k, v)| format!(" {k}={v}")).collect();
    let quote = |text: &str| {
        text.chars().fold(String::new(), |mut quoted, c| {
            if c == escape || "'\"$".contains(c) {
                quoted.push(escape);
            }
            quoted.push(c);
            quoted
        })
    };
    let pairs = request.labels.iter().map(|(k, v)| Pair { name: quote(k), value: quote(v) });
    let statement = Statement {
        instruction: Instruction::Label(pairs.collect()),
        text: format!("LABEL{text}"),
        ..stage.from.clone()
    };
    stage.steps.push(Step { id: StepId(0), statement, source: None, mounts: Vec::new() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn plan(text: &str, request: &BuildRequest) -> Result<Plan, DockerfileError> {
        Plan::new(parse::parse("Dockerfile", text.as_bytes()).unwrap(), request)
    }

    const STAGES: &str = "ARG BASE=nanoserver\nFROM ${BASE}:v1 AS build\nRUN a\nFROM x AS unused\n\
                          RUN b\nFROM $base\nCOPY --from=Build /o /i\nCOPY --from=img /o /i\n";

    #[test]
    fn stages_the_target_does_not_need_are_dropped() {
        let plan = plan(STAGES, &BuildRequest::default()).unwrap();
        let indexes: Vec<_> = plan.stages.iter().map(|stage| stage.index).collect();
        assert_eq!(indexes, [0, 2]);
        assert_eq!(plan.stages[0].base, Base::Image("nanoserver:v1".into()));
        assert_eq!(plan.stages[1].steps[0].source, Some(Base::Stage(0)));
        assert_eq!(plan.stages[1].steps[1].source, Some(Base::Image("img".into())));
        assert_eq!(plan.steps(), 6);
    }

    #[test]
    fn a_target_ends_the_build_there() {
        let by = |target: &str| {
            let request = BuildRequest { target: target.into(), ..Default::default() };
            plan(STAGES, &request).map(|plan| plan.stages.last().map(|stage| stage.index))
        };
        assert_eq!(by("UNUSED").unwrap(), Some(1));
        assert_eq!(by("0").unwrap(), Some(0));
        let text = by("nope").unwrap_err().to_string();
        assert_eq!(text, "target stage \"nope\" could not be found");
    }

    #[test]
    fn build_arguments_reach_from_and_unused_ones_are_told() {
        let build_args =
            [("BASE", "other"), ("LOST", "1"), ("http_proxy", "p"), ("BUILDKIT_INLINE_CACHE", "1")];
        let build_args =
            build_args.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into();
        let request = BuildRequest { build_args, ..Default::default() };
        let plan = plan(STAGES, &request).unwrap();
        assert_eq!(plan.stages[0].base, Base::Image("other:v1".into()));
        assert_eq!(plan.unused, ["LOST"]);
    }

    #[test]
    fn what_cannot_be_planned_is_told_with_its_place() {
        let table = [
            ("RUN x", "line 1: no build stage in current context", "line 1, column 1"),
            ("FROM scratch", "line 1: Windows does not support FROM scratch", "column 1"),
            ("FROM $X", "line 1: base name ($X) should not be blank", "column 1"),
            ("FROM a\n  FROM ${b", "line 2: failed to process", "line 2, column 3"),
            ("FROM a AS x\nFROM b as X", "line 2: duplicate name x", "line 2"),
            ("FROM --platform=linux/amd64 a", "unsupported platform \"linux/amd64\"", "line 1"),
            (
                "FROM a AS b\n COPY --from=B x y",
                "circular dependency detected on stage: B",
                "2, column 2",
            ),
            ("FROM a\nRUN --mount=from=0,target=C:/x y", "detected on stage: 0", "line 2"),
            ("FROM a\nCOPY --from=c x y\nFROM b AS C", "stage c comes after this", "line 2"),
            ("FROM a\nCOPY --from=2 x y", "invalid from flag value 2", "line 2"),
        ];
        for (text, problem, place) in table {
            let error = plan(text, &BuildRequest::default()).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn an_image_may_be_called_like_the_stage_that_stands_on_it() {
        let text = "FROM node AS node\nFROM web AS x\nCOPY --from=NODE a b\nFROM y AS web\n";
        let request = BuildRequest { target: "x".into(), ..Default::default() };
        let plan = plan(text, &request).unwrap();
        assert_eq!(plan.stages[0].base, Base::Image("node".into()));
        assert_eq!(plan.stages[1].base, Base::Image("web".into()));
        let views = plan.views();
        assert_eq!(views[2].inputs, [StepId(1), StepId(0)]);
        assert_eq!((views[2].number, views[2].total), (Some(3), 3));
    }

    #[test]
    fn labels_of_the_request_are_the_last_step() {
        let labels = [("a".to_owned(), "x $y 'z'".to_owned())].into();
        let request = BuildRequest { labels, ..Default::default() };
        let plan = plan("FROM a", &request).unwrap();
        let step = &plan.stages[0].steps[0].statement;
        assert_eq!(step.text, "LABEL a=x $y 'z'");
        let Instruction::Label(pairs) = &step.instruction else { panic!("not a label") };
        let value = expand::word(&pairs[0].value, '\\', &|_| None).unwrap();
        assert_eq!(value, "x $y 'z'");
    }
}

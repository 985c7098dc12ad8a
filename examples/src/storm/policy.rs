//! The policies, each a function as a user writes it.

use bindu_cb::{Settings, retry_with_breaker};

use super::scenario::{Scenario, millis};
use super::service::{Failure, Service};

#[retry_with_breaker(op = "storm", enabled = false, attempts = 1)]
async fn no_retry(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = false)]
async fn retry_alone(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = false, retry_budget = 0.1)]
async fn retry_on_a_budget(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = true, count = "call")]
async fn counting_calls(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = true, count = "attempt")]
async fn counting_attempts(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = true, count = "call", retry_budget = 0.1)]
async fn counting_calls_on_a_budget(service: &Service) -> Result<(), Failure> {
    service.request().await
}

#[retry_with_breaker(op = "storm", enabled = true, count = "attempt", retry_budget = 0.1)]
async fn counting_attempts_on_a_budget(service: &Service) -> Result<(), Failure> {
    service.request().await
}

/// What the workers do about failures.
#[derive(Debug)]
pub struct Policy {
    /// In files' names.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Processes that the workers are spread over, each with a circuit of its own.
    pub replicas: usize,
    /// Those circuits are one.
    pub is_shared: bool,
    /// A circuit that closes lets calls back by and by.
    pub ramps_up: bool,
    function: Function,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    NoRetry,
    RetryAlone,
    RetryOnABudget,
    Calls,
    Attempts,
    CallsOnABudget,
    AttemptsOnABudget,
}

/// All of them, in the order of the report.
pub const POLICIES: &[Policy] = &[
    Policy::new("no-retry", "no retry", Function::NoRetry),
    Policy::new("retry-alone", "retry alone", Function::RetryAlone),
    Policy::new("breaker-calls", "breaker, counting calls", Function::Calls),
    Policy::new("breaker-attempts", "breaker, counting attempts", Function::Attempts),
    Policy::new("calls-budget-ramp", "calls, budget, ramp-up", Function::CallsOnABudget).ramping(),
    Policy::new("attempts-budget-ramp", "attempts, budget, ramp-up", Function::AttemptsOnABudget)
        .ramping(),
    Policy::new("replicas-local", "8 replicas, own circuits", Function::AttemptsOnABudget)
        .ramping()
        .of_replicas(false),
    Policy::new("replicas-shared", "8 replicas, one circuit", Function::AttemptsOnABudget)
        .ramping()
        .of_replicas(true),
];

/// Not one of the report: what the budget does without a circuit.
pub const BUDGET_ALONE: &Policy =
    &Policy::new("budget-alone", "retry on a budget", Function::RetryOnABudget);

impl Policy {
    const fn new(name: &'static str, title: &'static str, function: Function) -> Self {
        Self { name, title, replicas: 1, is_shared: false, ramps_up: false, function }
    }

    const fn ramping(mut self) -> Self {
        self.ramps_up = true;
        self
    }

    const fn of_replicas(mut self, is_shared: bool) -> Self {
        self.replicas = 8;
        self.is_shared = is_shared;
        self
    }

    /// Whether there is a circuit at all.
    pub fn is_guarded(&self) -> bool {
        use Function::{NoRetry, RetryAlone, RetryOnABudget};
        !matches!(self.function, NoRetry | RetryAlone | RetryOnABudget)
    }

    /// What depends on the length of the run.
    pub(super) fn settings(&self, scenario: &Scenario) -> Settings {
        let mut settings = Settings::default();
        let all = settings.all();
        all.recovery_timeout(millis(scenario.recovery_timeout));
        all.min_wait(millis(scenario.wait)).max_wait(millis(10 * scenario.wait));
        if self.ramps_up {
            all.ramp_up(millis(scenario.ramp_up));
        }
        settings
    }

    pub(super) async fn call(&self, service: &Service) -> Result<(), Failure> {
        match self.function {
            Function::NoRetry => no_retry(service).await,
            Function::RetryAlone => retry_alone(service).await,
            Function::RetryOnABudget => retry_on_a_budget(service).await,
            Function::Calls => counting_calls(service).await,
            Function::Attempts => counting_attempts(service).await,
            Function::CallsOnABudget => counting_calls_on_a_budget(service).await,
            Function::AttemptsOnABudget => counting_attempts_on_a_budget(service).await,
        }
    }
}

//! Rows in `SQLite` through sqlx: which errors of the pool and of the database are worth another
//! attempt. `cargo run --example recipe-sqlx`

use std::time::Duration;

use bindu_cb::{CircuitState, Classify, Verdict, get_circuit_breaker, retry_storage_operation};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, query};

// May run twice, for it is an upsert. Of a transaction the whole is the body, BEGIN to COMMIT.
#[retry_storage_operation(op = "storage:rows", timeout = "5s")]
async fn save(pool: &SqlitePool, key: i64, value: &str) -> Result<(), StoreError> {
    let upsert = "INSERT INTO rows VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";
    query(upsert).bind(key).bind(value).execute(pool).await?;
    Ok(())
}

impl Classify for StoreError {
    fn classify(&self) -> Verdict {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
        match self {
            // No connection was free, or it broke: the next attempt gets another one.
            Self::Sql(Io(_) | PoolTimedOut | WorkerCrashed) => Verdict::Transient,
            Self::Sql(Database(error)) if is_down(error.code().as_deref()) => Verdict::Transient,
            Self::Sql(PoolClosed) => Verdict::Ignored, // by ourselves: we are shutting down
            Self::Sql(_) => Verdict::Permanent, // an answer: a constraint, no such row, a bad value
            Self::Timeout(timeout) => timeout.classify(),
            Self::Open(open) => open.classify(),
        }
    }
}

fn is_down(code: Option<&str>) -> bool {
    // BUSY, LOCKED, IOERR, FULL, CANTOPEN; the bits above the lowest eight tell their kinds apart.
    let code: Option<u32> = code.and_then(|code| code.parse().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
}

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Timeout(#[from] bindu_cb::AttemptTimeoutError),
    #[error(transparent)]
    Open(#[from] bindu_cb::CircuitBreakerOpenError),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bindu_cb_recipes::set_up();
    let folder = tempfile::tempdir()?;
    let database = SqliteConnectOptions::new().filename(folder.path().join("rows.db"));
    // Well below `timeout`, so that it is they that say what is wrong.
    let database = database.create_if_missing(true).busy_timeout(Duration::from_millis(50));
    let pool = SqlitePoolOptions::new().acquire_timeout(Duration::from_millis(100));
    let pool = pool.max_connections(1).connect_with(database.clone()).await?;
    query("CREATE TABLE rows (key PRIMARY KEY, value CHECK (value <> ''))").execute(&pool).await?;

    save(&pool, 1, "one").await?;
    save(&pool, 2, "").await.expect_err("the constraint forbids it"); // and that is an answer
    assert_eq!(get_circuit_breaker("storage:rows").snapshot().calls.success, 2);

    // It is down: a migration has locked all of it. And the pool's only connection is not returned.
    let mut migration = database.connect().await?;
    query("BEGIN EXCLUSIVE").execute(&mut migration).await?;
    save(&pool, 1, "uno").await.expect_err("the database is locked");
    let lent = pool.acquire().await?;
    save(&pool, 1, "uno").await.expect_err("no connection is free");
    save(&pool, 1, "uno").await.expect_err("no connection is free");
    let Err(StoreError::Open(open)) = save(&pool, 1, "uno").await else { panic!("not open") };

    query("COMMIT").execute(&mut migration).await?;
    drop(lent);
    tokio::time::sleep(open.retry_after()).await;
    save(&pool, 1, "uno").await?;
    assert_eq!(get_circuit_breaker("storage:rows").state(), CircuitState::Closed);
    Ok(())
}

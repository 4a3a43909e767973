//! A replica filled with invented citizens, in a PostgreSQL of the test's own, by the tables that the connector reads.

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use lgsp_rehearsal::population::citizens::Population;
use lgsp_rehearsal::population::replica::{NotFilled, fill};
use postgres::{OWNER, Postgres};

const SCHEMA: &str = include_str!("../../src/population/schema.sql");

#[tokio::test]
async fn a_replica_is_filled_with_the_citizens_of_the_seed_and_filled_again_stays_as_it_is() {
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE connector");
    postgres.sql(&SCHEMA.replace("{schema}", "dan_cu").replace("{role}", "connector"));
    let url = format!("host={} port={} user={OWNER} dbname=postgres", postgres.socket().display(), postgres.port());
    let population = Population::new(7, 7_000);
    let mut told = Vec::new();
    fill(population, &url, "dan_cu", None, |done| told.push(done)).await.unwrap();
    assert_eq!(told, [5_000, 7_000]);
    let first = population.citizen(0);
    let row =
        |what: &str| postgres.sql(&format!("SELECT {what} FROM dan_cu.citizen WHERE number = '{}'", first.number));
    assert_eq!(row("full_name").trim(), first.full_name);
    assert_eq!(row("residence_commune || ' ' || household").trim(), format!("{} {}", first.commune, first.household));
    let count =
        |what: &str| postgres.sql(&format!("SELECT count(*) FROM dan_cu.citizen WHERE {what}")).trim().to_owned();
    assert_eq!(count("true"), "7000");
    let by_eye =
        |is_it: fn(Population, u32) -> bool| (0..7_000).filter(|place| is_it(population, *place)).count().to_string();
    assert_eq!(count("old_number IS NOT NULL"), by_eye(|all, place| all.citizen(place).old_number.is_some()));
    assert_eq!(count("mother_number IS NOT NULL"), by_eye(|all, place| all.parents(&all.citizen(place)).is_some()));
    assert_eq!(
        count("length(date_of_birth) = 4"),
        by_eye(|all, place| { matches!(all.citizen(place).born, lgsp_rehearsal::population::citizens::Born::Year(_)) })
    );
    assert_ne!(count("state = 'deceased'"), "0");
    // What was changed there is not written over, and nobody is there twice.
    postgres.sql(&format!("UPDATE dan_cu.citizen SET state = 'locked' WHERE number = '{}'", first.number));
    fill(population, &url, "dan_cu", None, |_| {}).await.unwrap();
    assert_eq!((count("true").as_str(), row("state").trim()), ("7000", "locked"));
}

#[tokio::test]
async fn what_cannot_be_a_schema_or_a_database_is_refused_before_anything_is_sent() {
    let population = Population::new(7, 1);
    for schema in ["", "1st", "dan cu", "x; DROP SCHEMA dan_cu", "Dan"] {
        let refused = fill(population, "host=/nowhere user=x", schema, None, |_| {}).await;
        assert!(matches!(refused, Err(NotFilled::Schema)), "{schema}");
    }
    let refused = fill(population, "no url", "dan_cu", None, |_| {}).await;
    assert!(matches!(refused, Err(NotFilled::Url)));
}

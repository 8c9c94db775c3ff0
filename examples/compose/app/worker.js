// Takes one job after the other from PostgreSQL. Whatever goes wrong ends it; Compose starts it again.
import { Connection, quote } from "./postgres.js";

const db = await Connection.open();
const take = `
  update jobs set result = upper(task), worker = ${quote(Deno.hostname())}
  where id = (select id from jobs where result is null order by id limit 1 for update skip locked)
  returning id, task`;
console.log(`worker ${Deno.hostname()} is ready`);
for (;;) {
  const [job] = await db.query(take);
  if (job) console.log("done:", ...job);
  else await new Promise((wake) => setTimeout(wake, 200));
}

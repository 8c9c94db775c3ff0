// Takes jobs over HTTP and shows them. Whatever goes wrong ends it; Compose starts it again.
import { Connection, quote } from "./postgres.js";

const db = await Connection.open();
await db.query("create table if not exists jobs (id serial, task text, result text, worker text)");
const page = await Deno.readTextFile("C:\\app\\page.html");

// One connection answers one query at a time.
let last = Promise.resolve();
const query = (sql) => last = last.then(() => db.query(sql));

const escape = (value) => (value ?? "…").replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);

async function answer(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/jobs" && request.method === "POST") {
    const task = String((await request.formData()).get("text"));
    const [[id]] = await query(`insert into jobs (task) values (${quote(task)}) returning id`);
    return new Response(id, { status: 303, headers: { location: "/" } });
  }
  const jobs = await query("select id, task, result, worker from jobs order by id");
  if (pathname === "/jobs") return Response.json(jobs);
  if (pathname === "/health") return new Response("well");
  const items = jobs.map((job) => `<li>${job.map(escape).join(" · ")}</li>`).join("\n");
  const body = page.replace("<!-- jobs -->", items);
  return new Response(body, { headers: { "content-type": "text/html; charset=utf-8" } });
}

Deno.serve({ port: 8000, onError: (error) => {
  console.error(error);
  Deno.exit(1);
} }, answer);

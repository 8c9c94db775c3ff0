// Sends a job to the web service and waits for its result.
const body = new URLSearchParams({ text: Deno.args.join(" ") });
const sent = await fetch("http://web:8000/jobs", { method: "POST", body, redirect: "manual" });
const id = await sent.text();
for (;;) {
  const jobs = await (await fetch("http://web:8000/jobs")).json();
  const job = jobs.find((job) => job[0] === id);
  if (job?.[2]) {
    console.log(job[2]);
    break;
  }
  await new Promise((wake) => setTimeout(wake, 200));
}

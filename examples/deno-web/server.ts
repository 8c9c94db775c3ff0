import { Notes } from "./notes.ts";

const notes = new Notes();
const port = Number(Deno.env.get("PORT"));
const server = Deno.serve({ port, hostname: "0.0.0.0" }, (request) => notes.answer(request));

// `docker stop` ends a Windows container with CTRL_SHUTDOWN_EVENT, which Deno calls SIGTERM: requests
// that are under way are answered, no further ones are taken.
Deno.addSignalListener("SIGTERM", async () => {
  await server.shutdown();
  console.log(`${notes.count} notes forgotten, good bye`);
  Deno.exit(0);
});

import { Notes } from "./notes.ts";

const url = "http://localhost/notes";

Deno.test("a note is kept", async () => {
  const notes = new Notes();
  const made = await notes.answer(new Request(url, { method: "POST", body: "milk" }));
  if (made.status !== 201) throw new Error(`${made.status}`);
  const list = await (await notes.answer(new Request(url))).json();
  if (list.join() !== "milk") throw new Error(`${list}`);
});

Deno.test("an empty note is refused", async () => {
  const answer = await new Notes().answer(new Request(url, { method: "POST", body: " " }));
  if (answer.status !== 400) throw new Error(`${answer.status}`);
});

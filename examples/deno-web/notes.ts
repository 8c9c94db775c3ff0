// What the service answers, apart from how it is served.

export class Notes {
  #notes: string[] = [];

  async answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname}`) {
      case "GET /health":
        return new Response("well\n");
      case "GET /notes":
        return Response.json(this.#notes);
      case "POST /notes": {
        const text = (await request.text()).trim();
        if (!text) return new Response("a note needs a text\n", { status: 400 });
        this.#notes.push(text);
        return new Response(`${this.#notes.length}\n`, { status: 201 });
      }
      default:
        return new Response("there are only /notes and /health\n", { status: 404 });
    }
  }

  get count(): number {
    return this.#notes.length;
  }
}

import { capitalise } from "./text.ts";

declare const VERSION: number;

const place: Element | null = document.querySelector("#greeting");
if (place) place.textContent = capitalise(`hello from a bundle made on Windows, version ${VERSION}`);

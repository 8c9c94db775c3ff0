/** The text with a capital first letter. */
export function capitalise(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** Nobody calls this one. */
export function unused(): string {
  return "never shipped";
}

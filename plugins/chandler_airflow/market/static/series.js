// A view.
export function show() {}

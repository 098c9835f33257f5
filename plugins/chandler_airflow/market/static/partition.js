// From the tab on a task instance to the day that it loaded.

/**
 * @param {URLSearchParams} shell
 * @returns {Promise<string>}
 */
export async function fromTask(shell) {
  return shell.get("dag") ?? "";
}

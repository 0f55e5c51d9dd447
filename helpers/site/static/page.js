// What the theme leaves to do on every page.

// Next to each search result stands a summary, for which the page is fetched. From a
// folder nothing can be fetched.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Paper cannot be unfolded: print the answers. Folds of code, solutions and the words for
// a figure are not printed.
let opened = [];
addEventListener("beforeprint", () => {
  const answers = "article details:not(.fold, .cell_output *, [open])";
  opened = [...document.querySelectorAll(answers)];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});

// What the theme leaves to do on every page.

// Next to each search result stands a summary, for which the page is fetched. From a
// folder nothing can be fetched.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Paper cannot be unfolded: print the answers, but leave code and solutions folded.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("article details:not(.fold, [open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});

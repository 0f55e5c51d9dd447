// Read by MathJax when it starts. Sphinx marks every formula with the class `math`.
window.MathJax = {
  options: {
    // The menu would make each formula a stop of the Tab key, and offers extensions that
    // are not here to be loaded.
    enableMenu: false,
    ignoreHtmlClass: "mathjax_ignore|document",
    processHtmlClass: "mathjax_process|math",
  },
};

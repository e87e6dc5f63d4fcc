// Renders the API's own description. A file rather than a line in the page, so that the page may forbid inline scripts.
SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null, // the default sends the description to somebody else's server
});

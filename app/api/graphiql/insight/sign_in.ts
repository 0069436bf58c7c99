// Signs in by the API's own mutation; the gateway answers a browser with the session as a cookie that no script can read.
import { ask } from "./api";
import { signIn } from "./documents";
import { h } from "./dom";

/** The form; `signedIn` is called once there is a session. */
export function signInForm(signedIn: () => void): HTMLElement {
  const problem = h("p", { class: "error", role: "alert" });
  const button = h("button", { type: "submit" }, "Sign in");
  const submit = async (event: Event) => {
    event.preventDefault();
    const { email, password } = Object.fromEntries(new FormData(form));
    button.disabled = true;
    try {
      const refused = (await ask(signIn, { input: { email, password } })).signIn?.userErrors[0];
      if (!refused) return signedIn();
      problem.textContent = `You are not signed in: ${refused.message}.`;
    } catch (error) {
      problem.textContent = (error as Error).message;
    } finally {
      button.disabled = false;
    }
  };
  const form = h(
    "form",
    { class: "panel narrow", "aria-labelledby": "sign-in", submit: (event) => void submit(event) },
    h("h2", { id: "sign-in" }, "Sign in"),
    h("p", {}, "Store insight is for the staff of a store."),
    h("label", {}, "E-mail", h("input", { name: "email", type: "email", autocomplete: "username", required: true })),
    h("label", {}, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
    problem,
    button,
  );
  return form;
}

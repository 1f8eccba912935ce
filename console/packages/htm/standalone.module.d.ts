// The types of standalone.module.js, which has none of its own: htm and Preact in one file.
import type { VNode } from "preact";

export { h, render, Component, createContext } from "preact";
export * from "preact/hooks";
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;

/** @file Preact with htm, for all modules of the console: `html` makes elements without a build. */

export {
  Component, createContext, html, render, useCallback, useContext, useEffect, useErrorBoundary,
  useLayoutEffect, useMemo, useRef, useState,
} from "./packages/htm/standalone.module.js";

// Numbers as people read them; a number stays on one line with its unit.

export function formatTime(seconds, { decimals = 0 } = {}) {
  const whole = Math.max(0, seconds);
  const scale = 10 ** decimals;
  const rounded = Math.floor(whole * scale + 1e-6) / scale;
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor(rounded / 60) % 60;
  const rest = (rounded % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// A span of time in words, as in "about 3 min".
export function formatDuration(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 90) return `${Math.round(seconds)}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  return `${(seconds / 3600).toFixed(1)}\u00a0h`;
}

export function formatBytes(bytes) {
  if (bytes < 1e3) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)}\u00a0kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
  return `${(bytes / 1e9).toFixed(2)}\u00a0GB`;
}

export function formatShare(share) {
  const percent = share * 100;
  return percent > 0 && percent < 1 ? "<\u00a01\u00a0%" : `${Math.round(percent)}\u00a0%`;
}

export function formatCount(count) {
  return count.toLocaleString("en");
}

export function formatAge(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 45 ? "just now" : `${formatDuration(seconds)} ago`;
}

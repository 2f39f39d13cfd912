// The camera, and a sentence for each way in which there is none.

const KEYBOARD = "The keyboard works: 1, 2, 3.";
const REASONS = {
  NotAllowedError: ["refused", "The camera was refused: allow it beside the browser's address."],
  SecurityError: ["refused", "The camera was refused: allow it beside the browser's address."],
  NotFoundError: ["absent", "There is no camera."],
  OverconstrainedError: ["absent", "There is no camera."],
  NotReadableError: ["absent", "The camera does not answer: another program may be using it."],
};

/** Make a camera that shows itself in a video; `told(state, sentence)` hears what becomes of it. */
export function camera(video, told) {
  let stream = null;

  async function start() {
    if (stream) return true;
    if (!navigator.mediaDevices) {
      told("absent", `A page has a camera only by https or on this machine. ${KEYBOARD}`);
      return false;
    }
    try {
      const wanted = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
      stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: wanted });
      const [track] = stream.getVideoTracks();
      track.addEventListener("ended", () => { if (stream) { release(); told("lost", `The camera was taken away. ${KEYBOARD}`); } });
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      release();
      const [state, sentence] = REASONS[error.name] ?? ["absent", `The camera does not work (${error.name}).`];
      told(state, `${sentence} ${KEYBOARD}`);
      return false;
    }
    told("on", "");
    return true;
  }

  function release() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
  }

  return {
    start,
    stop() { if (stream) { release(); told("off", ""); } },
    get on() { return stream !== null; },
  };
}

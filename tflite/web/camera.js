// The camera: one frame after the other, as fast as the page takes them.

import {pixelsOf} from './image.js';

const REASONS = {
  NotAllowedError: 'The browser does not allow the camera. Allow it for this page, and start again.',
  NotFoundError: 'There is no camera.',
  NotReadableError: 'Another program uses the camera.',
  OverconstrainedError: 'This camera is gone. Choose another one.',
};

/** A live camera. */
export class Camera {
  /**
   * @param {HTMLVideoElement} video plays it.
   * @param {(frame: ImageData) => Promise<void>} show takes a frame; the next one waits for it.
   * @param {() => void} lost called when the camera is gone.
   */
  constructor(video, show, lost) {
    Object.assign(this, {video, show, lost, stream: null});
  }

  get running() {
    return this.stream !== null;
  }

  /**
   * Starts, or changes the camera.
   *
   * @param {string} [deviceId] by default the one that looks away from the user.
   */
  async start(deviceId) {
    if (!navigator.mediaDevices) {
      throw new Error('Browsers give a camera to https pages and to localhost only: open the page ' +
        'over https.');
    }
    const wanted = deviceId ? {deviceId: {exact: deviceId}} : {facingMode: 'environment'};
    const size = {width: {ideal: 480}, height: {ideal: 360}};
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {...wanted, ...size}});
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera does not start: ${error.message}`);
    }
    this.stop();
    this.stream = stream;
    this.video.srcObject = stream;
    // It was unplugged, or the user took the permission back.
    stream.getVideoTracks()[0].addEventListener('ended', () => this.stream === stream && this.lost());
    await this.video.play();
    this.loop(stream);
  }

  async loop(stream) {
    const {video} = this;
    while (this.stream === stream) {
      const {videoWidth: width, videoHeight: height} = video;
      if (width) await this.show(pixelsOf(video, width, height));
      await new Promise(resolve => requestAnimationFrame(resolve));
    }
  }

  /** The cameras that can be chosen: `{deviceId, label}`. Labels are known once one has started. */
  static async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter(({kind}) => kind === 'videoinput');
  }

  stop() {
    this.stream?.getTracks().forEach(track => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }
}

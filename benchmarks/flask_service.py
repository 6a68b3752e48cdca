"""A search service as people write it, with Flask and Keras: what `imgsearch serve` is compared to.

python benchmarks/flask_service.py PORT vectors.npy
"""

import io
import sys

import faiss
import numpy as np
from flask import Flask, jsonify, request
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.models import Model
from keras.utils import img_to_array, load_img

app = Flask(__name__)
vgg16 = VGG16(weights=None)  # random: only the time counts here
model = Model(vgg16.input, vgg16.get_layer("fc1").output)
vectors = np.load(sys.argv[2])
index = faiss.IndexFlatL2(vectors.shape[1])
index.add(vectors)


@app.post("/search")
def search():
    file = io.BytesIO(request.get_data())
    image = load_img(file, target_size=(224, 224), interpolation="bicubic")
    pixels = preprocess_input(np.expand_dims(img_to_array(image), 0))
    vector = model.predict(pixels, verbose=0)
    vector /= np.linalg.norm(vector)
    distances, ids = index.search(vector, int(request.args.get("k", 3)))
    hits = zip(ids[0], distances[0], strict=True)
    return jsonify([{"id": int(i), "distance": float(d)} for i, d in hits])


@app.get("/healthz")
def healthz():
    return "ok"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
